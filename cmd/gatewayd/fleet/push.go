package fleet

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	configv1 "gatewayd/schemas/config/v1"
)

func configCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Change the config of gateways in the fleet",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(pushCommand(c))
	return cmd
}

func pushCommand(c *client.Client) *cobra.Command {
	p := &push{c: c, canary: portion{percent: 5}, wave: portion{percent: 25}}
	on := ""
	cmd := &cobra.Command{
		Use:   "push FILE",
		Short: "Roll out a config to gateways in waves, and roll it back if it does harm",
		Long: `Roll out the config in FILE to all gateways of the fleet, or to those in --only.
${gateway} in FILE stands for the id of each gateway.

First every gateway checks the config. If one rejects it, nothing is changed
anywhere. Then a few gateways get it, the canaries, and are watched for --hold;
then the others in waves, each watched in the same way. Each gateway by itself
also reverts a config with which the changed actors do not become healthy.

With --rollback-on unhealthy, all gateways that have the new config get their
previous one back as soon as one gateway is worse than before: an actor that was
ok is not ok any more, the gateway reverted by itself, or it is disconnected.
With failed, only actors that failed or were given up count. With never, nothing
is rolled back, and the push stops where it is. A rollback waits for gateways
that are disconnected, up to --wait; one that is still missing then is listed
with the command that rolls it back later.

Ctrl-C stops the push between gateways: those that are taking the config at that
moment are waited for, and the result of each is printed. The canaries are
derived from FILE and the ids, so the same command continues an interrupted push.
A gateway that is not connected is listed; run the same command again when it is
back. The exit code is 0 if all gateways have the config. A gateway accepts it
only if its leaf.calls includes cmd/config/#.`,
		Example: `  gatewayd fleet config push meters.toml --canary 5% --rollback-on unhealthy
  gatewayd fleet config push meters.toml --only 'north-*' --canary 1 --hold 10m
  gatewayd fleet config push meters.toml --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			p.text, p.file = string(text), args[0]
			if p.rollback, p.worst, err = rollbackOn(on); err != nil {
				return err
			}
			if err := c.Dial(); err != nil {
				return err
			}
			defer c.Close()
			p.say = func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
			err = p.run(cmd.Context())
			if tellErr := p.report(cmd.OutOrStdout()); err == nil {
				err = tellErr
			}
			return err
		},
	}
	c.Flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&p.only, "only", nil, "ids of gateways, or patterns like 'north-*' (default all)")
	f.Var(&p.canary, "canary", "gateways in the first wave: a number, or a percentage of all")
	f.Var(&p.wave, "wave", "gateways in each wave after that: a number, or a percentage of all")
	f.DurationVar(&p.hold, "hold", time.Minute, "time to watch each wave before the next")
	f.StringVar(&on, "rollback-on", "unhealthy", "condition for rolling back all gateways: unhealthy, failed or never")
	f.DurationVar(&p.wait, "wait", 5*time.Minute, "maximum time that a rollback waits for disconnected gateways")
	f.BoolVar(&p.dry, "dry-run", false, "only have every gateway check the config")
	return cmd
}

// rollbackOn parses --rollback-on: whether a push is rolled back at all, and which states of actors
// are a reason.
func rollbackOn(word string) (rollback bool, worst func(state string) bool, err error) {
	switch word {
	case "unhealthy":
		return true, unwell, nil
	case "failed":
		return true, givenUp, nil
	case "never":
		return false, unwell, nil
	}
	return false, nil, exit.Usage("--rollback-on %s: want unhealthy, failed or never", word)
}

// push is the rollout of a config.
type push struct {
	c            *client.Client
	file, text   string
	only         []string
	canary, wave portion
	hold         time.Duration
	wait         time.Duration // how long a rollback waits for gateways that are away
	rollback     bool
	worst        func(state string) bool // states of actors that count as harm
	dry          bool
	say          func(format string, args ...any)

	targets []*receiver
}

// receiver is one gateway of a push.
type receiver struct {
	*client.Client // of this gateway
	id             string
	wave           int // number of its wave, from 1; 0: none
	result         string
	why            string
	version        uint64
	former         string            // its config before the push
	formerly       uint64            // version of that config
	before         map[string]string // actors that were not well before, by path
	has            bool              // the new config is in force
	replaced       bool              // this push put it in force
	watched        bool              // watched to the end
	harmed         bool              // worse than before
}

func (p *push) run(ctx context.Context) error {
	all, _, err := members(ctx, p.c, p.only)
	if err != nil {
		return p.c.Explain(err)
	}
	if len(all) == 0 {
		return fmt.Errorf("no gateway of this hub matches --only: gatewayd fleet ls lists them")
	}
	var ids []string
	for _, m := range all {
		one := *p.c
		one.Gateway = m.id
		t := &receiver{Client: &one, id: m.id, result: "waiting"}
		if p.targets = append(p.targets, t); m.here {
			ids = append(ids, m.id)
			continue
		}
		t.result, t.why = "away", "not connected since about "+m.told.Local().Format(time.DateTime)+": push again when it is connected"
	}
	if len(ids) == 0 {
		return fmt.Errorf("none of the %d gateways is connected", len(all))
	}
	if err := p.check(ctx, p.named(ids)); err != nil || p.dry {
		return err
	}
	parts := waves(ids, []byte(p.text), p.canary, p.wave)
	for i, part := range parts {
		who := p.named(part)
		what := fmt.Sprintf("wave %d of %d", i+1, len(parts))
		if i == 0 {
			what += ", canaries"
		}
		p.say("%s: %s", what, strings.Join(part, " "))
		if err := p.put(ctx, i+1, who); err != nil {
			return p.stop(ctx, err)
		}
	}
	return p.outcome()
}

// outcome returns the result of a push that was not stopped: an error if some gateways have not got
// the config.
func (p *push) outcome() error {
	away := 0
	for _, t := range p.targets {
		if !t.has {
			away++
		}
	}
	if away > 0 {
		return fmt.Errorf("%d of %d gateways do not have the new config: push again when they are connected", away, len(p.targets))
	}
	return nil
}

// stop ends a push that cannot go on, and rolls it back if p.rollback.
func (p *push) stop(ctx context.Context, why error) error {
	have := 0
	for _, t := range p.targets {
		if t.has {
			have++
		}
		switch {
		case t.result == "waiting":
			t.result, t.why, t.wave = "untouched", "", 0
		case t.replaced && !t.watched && ctx.Err() != nil && t.why == "":
			t.why = "not watched for the whole --hold"
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %d of %d gateways have the new config; run the same command to continue", have, len(p.targets))
	case !p.rollback:
		return fmt.Errorf("stopped: %w; %d of %d gateways have the new config", why, have, len(p.targets))
	}
	p.say("%v: restoring the previous configs", why)
	if left := p.back(ctx); left > 0 {
		return fmt.Errorf("rolled back: %w; but %s could not be reached", why, terminal.Counted(left, "gateway"))
	}
	return fmt.Errorf("rolled back: %w", why)
}

// config returns the text of the config for a gateway.
func (p *push) config(t *receiver) string { return strings.ReplaceAll(p.text, "${gateway}", t.id) }

func (p *push) named(ids []string) (all []*receiver) {
	wanted := make(map[string]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	for _, t := range p.targets {
		if wanted[t.id] {
			all = append(all, t)
		}
	}
	return all
}

// check has every gateway check the config. It changes nothing.
func (p *push) check(ctx context.Context, who []*receiver) error {
	each(who, func(t *receiver) {
		resp := &configv1.CheckResponse{}
		if err := t.config(ctx, "Check", &configv1.CheckRequest{Toml: p.config(t)}, resp); err != nil {
			t.result, t.why = "refused", err.Error()
			return
		}
		if len(resp.Problems) > 0 {
			t.result, t.why = "refused", problemText(resp.Problems)
		} else if p.dry {
			t.result, t.why = "valid", terminal.Counted(len(resp.Changes), "change")
		}
	})
	bad := 0
	for _, t := range who {
		if t.result == "refused" {
			bad++
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted before anything was changed")
	}
	if bad > 0 {
		for _, t := range who {
			if t.result == "waiting" || t.result == "valid" {
				t.result, t.why = "untouched", ""
			}
		}
		return fmt.Errorf("%s refused the config: nothing was changed anywhere", terminal.Counted(bad, "gateway"))
	}
	return nil
}

func problemText(all []*configv1.Problem) string {
	first := all[0]
	text := fmt.Sprintf("line %d: %s: %s", first.Line, first.Key, first.Message)
	if n := len(all) - 1; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}

// config calls a method of the gateway's config actor.
func (t *receiver) config(ctx context.Context, method string, req, resp message) error {
	ctx, cancel := t.Bounded(ctx)
	defer cancel()
	if err := t.Conn.Call(ctx, bus.Subject(t.id, bus.Cmd, "config", method), req, resp); err != nil {
		return t.Explain(err)
	}
	return nil
}
