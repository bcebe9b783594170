package look

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
)

// EventsCommand returns "events", which shows the stored events.
func EventsCommand(c *client.Client) *cobra.Command {
	var n int
	var follow, frames bool
	cmd := &cobra.Command{
		Use:   "events [PATH]",
		Short: "Show recent events",
		Long: `Show the latest events that the gateway has stored, oldest first: of all actors,
or of PATH and everything below it. For a unit that does not answer, the last
frames on its line before the failure are shown as well; --frames shows all that
were recorded.`,
		Example: `  gatewayd events -n 50
  gatewayd events field/rs485-1 --follow`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.CompletePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			if n < 1 {
				return exit.Usage("-n %d: want 1 or more", n)
			}
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			filter := "event/#"
			if len(args) > 0 {
				filter = "event/" + args[0] + "/#"
			}
			pattern, err := pattern(c, filter)
			if err != nil {
				return exit.Usage("%v", err)
			}
			w := cmd.OutOrStdout()
			pr := Printer{W: w, Paint: terminal.Painter(w), AsJSON: c.AsJSON, events: true, frames: frames}
			return events(cmd.Context(), c, pr, pattern, n, follow)
		},
	}
	c.Flags(cmd)
	cmd.Flags().IntVarP(&n, "count", "n", 20, "number of events to show")
	cmd.Flags().BoolVar(&frames, "frames", false, "show all recorded frames of failures, not only the last")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "keep printing new events until interrupted")
	return cmd
}

func events(ctx context.Context, c *client.Client, pr Printer, pattern string, n int, follow bool) error {
	lastEvents := func(ctx context.Context, pattern string, take func(bus.Record) error) error {
		ctx, cancel := c.Bounded(ctx)
		defer cancel()
		records, err := c.Conn.Events(ctx, pattern, n)
		for i := 0; err == nil && i < len(records); i++ {
			err = take(records[i])
		}
		return err
	}
	if follow {
		return watch(ctx, c, pr, pattern, 0, lastEvents)
	}
	var records []bus.Record
	err := lastEvents(ctx, pattern, func(r bus.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return c.Explain(err)
	}
	if c.AsJSON {
		return eventsJSON(pr.W, records)
	}
	rows := [][]terminal.Cell{terminal.Row("TIME", "PATH", "EVENT", "WHAT")}
	for _, r := range records {
		rows = append(rows, eventRow(r.Msg, r.Time))
		for _, f := range pr.framesOf(r.Msg) {
			rows = append(rows, []terminal.Cell{{Text: "    " + f, Colour: terminal.Dim}})
		}
	}
	return terminal.Columns(pr.W, pr.Paint, rows, terminal.Width(pr.W), terminal.Cut)
}

// eventRow returns the table row of an event.
func eventRow(m bus.Msg, at time.Time) []terminal.Cell {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		return terminal.Row(at.Local().Format(time.DateTime), m.Subject, "", terminal.Text(m))
	}
	l := toldLine(a, m)
	return []terminal.Cell{{Text: at.Local().Format(time.DateTime), Colour: terminal.Dim}, {Text: a.Path}, {Text: a.Leaf, Colour: terminal.Blue}, {Text: l.What, Colour: l.Colour}}
}

func eventsJSON(w io.Writer, records []bus.Record) error {
	all := []map[string]any{}
	for _, r := range records {
		topic, _ := bus.Topic(r.Subject)
		all = append(all, map[string]any{"time": r.Time, "topic": topic, "payload": terminal.JSON(r.Msg)})
	}
	return json.NewEncoder(w).Encode(all)
}
