package look

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
)

// WatchCommand returns "watch", which prints messages as they are published.
func WatchCommand(c *client.Client) *cobra.Command {
	var count int
	cmd := &cobra.Command{
		Use:   "watch FILTER",
		Short: "Print messages as they are published",
		Long: `Print messages as they are published: topic and payload, one line each.

FILTER is an MQTT topic filter relative to the gateway. It begins with a class:
data, event, state or trace. '+' (or '*') matches one level, '#' (or '>') at the
end all remaining levels. The current states are printed first.

The command ends on Ctrl-C, after --count messages, or after --timeout if given.`,
		Example: `  gatewayd watch 'data/#'
  gatewayd watch 'data/field/rs485-1/meter-1/+'
  gatewayd watch 'state/+/+/+/health'
  gatewayd watch 'event/>' --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.CompleteFilter,
		RunE: func(cmd *cobra.Command, args []string) error {
			patience := c.Timeout
			c.Timeout = max(patience, 10*time.Second) // time to connect, which --timeout does not limit
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			c.Timeout = patience
			pattern, err := pattern(c, args[0])
			if err != nil {
				return exit.Usage("%v", err)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			if cmd.Flags().Changed("timeout") {
				ctx, cancel = context.WithTimeout(cmd.Context(), patience)
			}
			defer cancel()
			return watch(ctx, c, Printer{W: cmd.OutOrStdout(), AsJSON: c.AsJSON}, pattern, count, lastStates(c))
		},
	}
	c.Flags(cmd)
	cmd.Flags().IntVarP(&count, "count", "n", 0, "number of messages to print before exiting; 0 for no limit")
	return cmd
}

// pattern returns the NATS pattern of a filter. The filter may also be a whole subject.
func pattern(c *client.Client, filter string) (string, error) {
	if strings.HasPrefix(filter, "gw.") {
		return filter, nil
	}
	p, err := bus.Pattern(c.Gateway, filter)
	if err != nil && strings.HasSuffix(err.Error(), "trace") {
		err = fmt.Errorf("%w, as in 'data/%s/#'", err, strings.Trim(filter, "/#>"))
	}
	return p, err
}

// history passes the stored messages that match pattern to take, oldest first.
type history func(ctx context.Context, pattern string, take func(bus.Record) error) error

// lastStates returns the history of states: the last message of each.
func lastStates(c *client.Client) history {
	return func(ctx context.Context, pattern string, take func(bus.Record) error) error {
		if !mayBeState(pattern) {
			return nil
		}
		return c.Conn.Last(ctx, pattern, take)
	}
}

var errEnough = errors.New("enough messages have arrived")

// watch prints the history and then new messages, until ctx ends or count messages have been
// printed. It subscribes before it reads the history, so that no message is missed in between.
func watch(ctx context.Context, c *client.Client, pr Printer, pattern string, count int, kept history) error {
	pr.Paint = terminal.Painter(pr.W)
	live := make(chan bus.Msg, 4096)
	stop, err := c.Conn.Subscribe(pattern, func(m bus.Msg) {
		select {
		case live <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return c.Explain(err)
	}
	defer stop()
	seen := 0
	take := func(m bus.Msg, at time.Time) error {
		if err := pr.Message(m, at); err != nil {
			return err
		}
		if seen++; count > 0 && seen >= count {
			return errEnough
		}
		return nil
	}
	err = kept(ctx, pattern, func(r bus.Record) error { return take(r.Msg, r.Time) })
	for err == nil {
		select {
		case m := <-live:
			err = take(m, time.Now())
		case <-c.Conn.Ended():
			err = errors.New("the gateway has ended this client's access")
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	switch {
	case errors.Is(err, errEnough):
		return nil
	case ctx.Err() == nil:
		return c.Explain(err)
	case count > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%d of %d messages arrived on %s within %s", seen, count, pattern, c.Timeout)
	}
	return nil
}

// mayBeState reports whether pattern matches states, whose last messages are kept.
func mayBeState(pattern string) bool {
	tokens := strings.Split(pattern, ".")
	if len(tokens) < 3 {
		return true
	}
	class := tokens[2]
	return class == string(bus.State) || class == "*" || class == ">"
}

// Printer prints messages, one line each.
type Printer struct {
	W      io.Writer
	Paint  terminal.Paint
	AsJSON bool
	events bool // print rows of events
	frames bool // print all frames of an event, not only the last
}

// Message prints a message that arrived at the given time.
func (p Printer) Message(m bus.Msg, at time.Time) error {
	topic, ok := bus.Topic(m.Subject)
	if !ok {
		topic = m.Subject
	}
	if p.AsJSON {
		return json.NewEncoder(p.W).Encode(map[string]any{"time": at, "topic": topic, "payload": terminal.JSON(m)})
	}
	width := terminal.Width(p.W)
	if p.events {
		return p.event(eventRow(m, at), p.framesOf(m), width)
	}
	text := terminal.Text(m)
	if width == 0 || len(topic)+len(text)+2 <= width {
		_, err := fmt.Fprintln(p.W, p.Paint.In(terminal.Blue, topic)+"  "+text)
		return err
	}
	lines := terminal.Wrap(text, terminal.Room(width, 2))
	_, err := fmt.Fprintln(p.W, p.Paint.In(terminal.Blue, topic)+"\n  "+strings.Join(lines, "\n  "))
	return err
}

// fewFrames is how many frames of an event are printed unless all are asked for.
const fewFrames = 4

// framesOf returns the frames of an event to print.
func (p Printer) framesOf(m bus.Msg) []string {
	all := framesOf(m)
	more := len(all) - fewFrames
	if p.frames || more <= 0 {
		return all
	}
	return append([]string{fmt.Sprintf("… %d earlier frames, shown with --frames", more)}, all[more:]...)
}

// event prints a row like those of the table of past events.
func (p Printer) event(row []terminal.Cell, frames []string, width int) error {
	var line strings.Builder
	used := 0
	for i, least := range []int{len(time.DateTime), 24, 10} {
		gap := max(least-utf8.RuneCountInString(row[i].Text), 0) + 2
		line.WriteString(p.Paint.In(row[i].Colour, row[i].Text) + strings.Repeat(" ", gap))
		used += utf8.RuneCountInString(row[i].Text) + gap
	}
	what := row[len(row)-1]
	line.WriteString(p.Paint.In(what.Colour, terminal.Cut(what.Text, terminal.Room(width, used))[0]))
	for _, f := range frames {
		line.WriteString("\n    " + p.Paint.In(terminal.Dim, terminal.Cut(f, terminal.Room(width, 4))[0]))
	}
	_, err := fmt.Fprintln(p.W, line.String())
	return err
}
