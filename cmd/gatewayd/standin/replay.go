package standin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/modbus/replay"
)

// ReplayCommand returns "replay", which replays a recording of a line to the units of a config.
func ReplayCommand(kinds files.Kinds) *cobra.Command {
	r := &replaying{kinds: kinds}
	cmd := &cobra.Command{
		Use:   "replay FILE",
		Short: "Replay a recorded line against the units of a config",
		Long: `Replay a recording of a line, made with gatewayd trace LINK --record FILE. The line
or link in the recording and its units run as the config says, on a line that
answers as it answered then, with the same delays, silences, noise and damaged
frames. No port is opened, and nothing else in the config runs. What the units
publish is printed with the seconds since the start of the recording.

A request gets the answer recorded nearest in time. A request that was never
recorded is not answered, and is listed at the end.

The replay runs in real time: an hour takes an hour. With --speed 10 the recording
and all durations in the config run ten times faster. This is a close
approximation: limits that are not part of the config are not scaled. For an exact
and immediate replay in virtual time, which Go offers in tests only, use
actorstest.Replay, which makes the same file a regression test.`,
		Example: `  gatewayd trace field/rs485-1/line --record incident.txt
  gatewayd replay incident.txt --config gateway.toml --speed 10`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.out, r.remarks = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return r.run(cmd.Context(), args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.config, "config", "gateway.toml", "config file with the link and its units")
	f.StringVar(&r.link, "link", "", "line or link to replay the recording on (default the recorded one)")
	f.Float64Var(&r.speed, "speed", 1, "speed factor, 0.1 to 100")
	f.BoolVar(&r.asJSON, "json", false, "print JSON")
	return cmd
}

// replaying is a gateway in this process whose only line is a recording.
type replaying struct {
	kinds        files.Kinds
	config, link string
	speed        float64
	asJSON       bool
	out, remarks io.Writer

	shown map[string]bool // paths of the actors whose messages are printed
}

func (r *replaying) run(ctx context.Context, file string) error {
	if !(r.speed >= 0.1 && r.speed <= 100) {
		return exit.Usage("--speed %g: want 0.1 to 100", r.speed)
	}
	f, err := os.Open(file)
	if err != nil {
		return exit.Usage("%v", err)
	}
	defer f.Close()
	line, err := replay.New(f, r.speed)
	if err != nil {
		return exit.Usage("%s: %v", file, err)
	}
	if r.link == "" {
		r.link = line.Header().Link
	}
	cfg, problems := r.kinds.Load(r.config)
	if err := files.Refused(problems); err != nil {
		return err
	}
	if err := r.narrow(cfg, line.Header()); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gatewayd-replay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.DiscardHandler)
	g, err := daemon.Start(r.onLine(line), cfg, files.NewSource(r.kinds, r.config, dir), dir, log)
	if err != nil {
		return err
	}
	err = r.watch(ctx, g, line)
	for _, s := range line.Strangers() {
		fmt.Fprintf(r.remarks, "not in the recording, so not answered: %s\n", s)
	}
	return errors.Join(err, g.Stop())
}

// firstReading is how long after the end of a recording the first reading is waited for, on a
// machine too slow to have produced it.
const firstReading = 10 * time.Second

// watch prints what is published until the recording is over and at least one reading was printed.
func (r *replaying) watch(ctx context.Context, g *daemon.Gateway, line *replay.Line) error {
	long := line.Length() + max(time.Duration(float64(time.Second)/r.speed), 100*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, long+firstReading)
	defer cancel()
	end, read := time.After(long), false
	begin, said := time.Now(), make(chan bus.Msg, 4096)
	for _, class := range []bus.Class{bus.Data, bus.Event, bus.State} {
		stop, err := g.Bus.Conn().Subscribe("gw."+g.Bus.Gateway()+"."+string(class)+".>", func(m bus.Msg) {
			select {
			case said <- m:
			case <-ctx.Done():
			}
		})
		if err != nil {
			return err
		}
		defer stop()
	}
	pr := look.Printer{W: r.out, Paint: terminal.Painter(r.out), AsJSON: r.asJSON}
	for end != nil || !read {
		select {
		case m := <-said:
			if !r.concerns(m) {
				continue
			}
			a, _ := bus.ParseSubject(m.Subject) // of our own gateway
			read = read || a.Class == bus.Data
			now := time.Now()
			if !r.asJSON {
				after := time.Duration(float64(now.Sub(begin)) * r.speed)
				fmt.Fprintf(r.out, "%9.3f  ", after.Seconds())
			}
			if err := pr.Message(m, now); err != nil {
				return err
			}
		case <-end:
			end = nil
		case <-ctx.Done():
			return nil
		}
	}
	cancel() // releases subscriptions that wait to deliver
	return nil
}
