package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	configv1 "gatewayd/schemas/config/v1"
)

type message = proto.Message

// abreast is how many gateways are talked to at a time.
const abreast = 32

// each does something with all gateways, some at a time.
func each(who []*receiver, do func(*receiver)) {
	var all sync.WaitGroup
	room := make(chan struct{}, abreast)
	for _, t := range who {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			do(t)
		})
	}
	all.Wait()
}

// unwell are the states of actors that are not what they should be; givenUp those that do not mend by themselves.
func unwell(state string) bool  { return state != actors.OK }
func givenUp(state string) bool { return state == actors.Bad || state == actors.Quarantined }

// put gives a wave the config, and watches what comes of it. Its error is why the push cannot go on.
func (p *push) put(ctx context.Context, wave int, who []*receiver) error {
	stop := context.AfterFunc(ctx, func() { p.say("interrupted: who is just taking the config is waited for") })
	each(who, func(t *receiver) {
		t.wave = wave
		if ctx.Err() == nil {
			p.give(ctx, t)
		}
	})
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	changed := slices.DeleteFunc(slices.Clone(who), func(t *receiver) bool { return !t.replaced })
	if len(changed) > 0 && harm(who) == nil {
		p.say("watching %s for %s", terminal.Counted(len(changed), "gateway"), p.hold)
		if err := p.watch(ctx, changed); err != nil {
			return err
		}
	}
	for _, t := range who {
		t.watched = true
	}
	return harm(who)
}

// give gives a gateway the config. Once it is on its way its outcome is waited for, whoever interrupts.
func (p *push) give(ctx context.Context, t *receiver) {
	now := &configv1.GetResponse{}
	err := t.config(ctx, "Get", &configv1.GetRequest{}, now)
	if err == nil && now.Toml == p.config(t) {
		t.result, t.why, t.has, t.version = "has it", "it had it before", true, now.Version
		return
	}
	if err == nil {
		t.former, t.formerly = now.Toml, now.Version
		t.before, err = t.ills(ctx, unwell)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		t.harm(err.Error())
		return
	}
	resp, err := t.apply(p.config(t))
	switch {
	case err != nil:
		t.harm(err.Error()) // it may have it all the same
		t.replaced = true
	case len(resp.Problems) > 0:
		t.harm(problemText(resp.Problems))
	default:
		t.result, t.why, t.has, t.replaced, t.version = "has it", resp.Unkept, true, true, resp.Version
	}
}

// applyTime is how long a gateway may take to stop and start what a config changes.
const applyTime = 2 * time.Minute

// harm notes that a gateway is worse than before.
func (t *receiver) harm(why string) { t.result, t.why, t.harmed = "failed", why, true }

// harm is why a push cannot go on; nil: it can.
func harm(who []*receiver) error {
	for _, t := range who {
		if t.harmed {
			return fmt.Errorf("%s: %s", t.id, t.why)
		}
	}
	return nil
}

// ills are the actors of a gateway in such states, and why.
func (t *receiver) ills(ctx context.Context, such func(state string) bool) (map[string]string, error) {
	one := *t.Client
	one.Gateway = t.id
	all, _, err := one.States(ctx)
	if err != nil {
		return nil, t.Explain(err)
	}
	ills := map[string]string{}
	for _, s := range all {
		if such(s.Health.State) {
			ills[s.Path] = strings.TrimSuffix(s.Health.State+": "+s.Health.Cause, ": ")
		}
	}
	return ills, nil
}

// watch looks at gateways until they have been watched long enough, or one has gone back. What is wrong at the end counts: actors need time.
func (p *push) watch(ctx context.Context, who []*receiver) error {
	look := time.NewTicker(max(p.hold/20, 500*time.Millisecond))
	defer look.Stop()
	for end := time.After(p.hold); ; {
		over := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			over = true
		case <-look.C:
		}
		each(who, func(t *receiver) { p.look(ctx, t, over) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := harm(who); err != nil || over {
			return nil
		}
	}
}

// look sees whether a gateway still has the config and, when its time is over, is no worse than before.
func (p *push) look(ctx context.Context, t *receiver, over bool) {
	now := &configv1.GetResponse{}
	err := t.config(ctx, "Get", &configv1.GetRequest{}, now)
	switch {
	case err != nil && over:
		t.harm("after the change: " + err.Error())
		return
	case err != nil:
		return
	case now.Toml != p.config(t):
		t.has, t.replaced = false, false
		t.harm("it took the config back by itself: gatewayd fleet events " + t.id + " config")
		return
	case !over:
		return
	}
	ills, err := t.ills(ctx, p.worst)
	if err != nil {
		t.harm("after the change: " + err.Error())
		return
	}
	for _, path := range slices.SortedFunc(maps.Keys(ills), func(a, b string) int { return client.ComparePaths(b, a) }) { // the root at last
		if _, was := t.before[path]; !was {
			t.harm(path + " is " + ills[path])
			return
		}
	}
}

// back gives back what gateways had before. Those that are away are awaited for so long as the push is to, unless somebody interrupts; left is how many have not
// taken it then.
func (p *push) back(ctx context.Context) (left int) {
	who := slices.DeleteFunc(slices.Clone(p.targets), func(t *receiver) bool { return !t.replaced })
	again := time.NewTicker(backEvery)
	defer again.Stop()
	said := false
	for end := time.After(p.wait); ; {
		each(who, func(t *receiver) { p.restore(t) })
		who = slices.DeleteFunc(who, func(t *receiver) bool { return t.result == "taken back" })
		if len(who) == 0 {
			return 0
		}
		if !said {
			said = true
			p.say("waiting %s for %s that cannot be reached", p.wait, terminal.Counted(len(who), "gateway"))
		}
		select {
		case <-again.C:
		case <-end:
			return len(who)
		case <-ctx.Done():
			return len(who)
		}
	}
}

const backEvery = time.Second

// restore gives a gateway back what it had before.
func (p *push) restore(t *receiver) {
	resp, err := t.apply(t.former)
	if err == nil && len(resp.Problems) > 0 {
		err = fmt.Errorf("%s", problemText(resp.Problems))
	}
	if err != nil {
		t.result = "stuck"
		t.why = fmt.Sprintf("may still have the new config: %v. When it is back: gatewayd fleet call %s config Rollback '{\"version\":%d}'", err, t.id, t.formerly)
		return
	}
	t.has, t.result, t.version = false, "taken back", resp.Version
}

// apply has a gateway take a config, and waits until it has stopped and started what that changes, or is away.
func (t *receiver) apply(toml string) (*configv1.ApplyResponse, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go t.guard(ctx, cancel)
	one, c := *t, *t.Client
	c.Timeout = max(c.Timeout, applyTime)
	one.Client = &c
	resp := &configv1.ApplyResponse{}
	err := one.config(ctx, "Apply", &configv1.ApplyRequest{Toml: toml}, resp)
	if context.Cause(ctx) == errAway {
		err = errAway
	}
	return resp, err
}

var errAway = errors.New("it went away while it took the config")

const (
	guardEvery = 2 * time.Second
	mostMissed = 3 // a gateway may be away for a moment where its leaf changes
)

// guard ends what waits for an answer of a gateway that is not there any more.
func (t *receiver) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	look := time.NewTicker(guardEvery)
	defer look.Stop()
	for missed := 0; missed < mostMissed; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		words, err := t.Conn.Ask(ctx, []string{t.id}, client.AskTime)
		if missed++; err != nil || len(words) == 1 && words[0].Here {
			missed = 0
		}
	}
	cancel(errAway)
}

// report tells what became of each gateway.
func (p *push) report(w io.Writer) error {
	if p.c.AsJSON {
		type row struct {
			Gateway string `json:"gateway"`
			Wave    int    `json:"wave,omitempty"`
			Result  string `json:"result"`
			Version uint64 `json:"version,omitempty"`
			Why     string `json:"why,omitempty"`
		}
		rows := []row{}
		for _, t := range p.targets {
			rows = append(rows, row{t.id, t.wave, t.result, t.version, t.why})
		}
		return json.NewEncoder(w).Encode(rows)
	}
	rows := [][]terminal.Cell{terminal.Row("GATEWAY", "WAVE", "RESULT", "VERSION", "WHY")}
	for _, t := range p.targets {
		row := terminal.Row(t.id, "–", t.result, "–", t.why)
		if t.wave > 0 {
			row[1].Text = fmt.Sprint(t.wave)
		}
		if t.version > 0 {
			row[3].Text = fmt.Sprint(t.version)
		}
		row[2].Colour = map[string]string{
			"has it": terminal.Green, "fits": terminal.Green, "failed": terminal.Red, "stuck": terminal.Red, "refused": terminal.Red, "taken back": terminal.Yellow, "away": terminal.Yellow,
		}[t.result]
		rows = append(rows, row)
	}
	if len(rows) == 1 {
		return nil
	}
	return terminal.Table(w, terminal.Painter(w), rows)
}
