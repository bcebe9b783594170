package look

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	trackv1 "gatewayd/schemas/track/v1"
)

// TracksCommand returns "tracks", which shows what is recorded.
func TracksCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tracks",
		Short: "Show the tracks and how much of them is on disk",
		Long: `Show all tracks: their numbers, how many of their records are on disk and since
when, how fast they grow, what was dropped, and what is wrong.

WAITING counts records in memory. DROPPED counts records that were never written
to disk, or that were no longer there when a reader needed them.`,
		Example: `  gatewayd tracks
  gatewayd call tracks/energy Record
  gatewayd watch 'trace/tracks/energy/records'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			return tracks(cmd.Context(), c, cmd.OutOrStdout())
		},
	}
	c.Flags(cmd)
	return cmd
}

// recorded is one track and its state.
type recorded struct {
	path  string
	state *trackv1.State
}

func tracks(ctx context.Context, c *client.Client, w io.Writer) error {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	var all []recorded
	err := c.Conn.Last(ctx, bus.Subject(c.Gateway, bus.State, "", ">"), func(r bus.Record) error {
		a, err := bus.ParseSubject(r.Subject)
		if err != nil || a.Leaf != "track" || len(r.Data) == 0 {
			return nil
		}
		t := recorded{a.Path, &trackv1.State{}}
		if r.Decode(t.state) != nil {
			return nil // a message of another type
		}
		all = slices.DeleteFunc(all, func(o recorded) bool { return o.path == t.path })
		all = append(all, t)
		return nil
	})
	if err != nil {
		return c.Explain(err)
	}
	slices.SortFunc(all, func(a, b recorded) int {
		if a.state.Number != b.state.Number {
			return int(a.state.Number) - int(b.state.Number)
		}
		return strings.Compare(a.path, b.path)
	})
	if c.AsJSON {
		return writeTracks(w, all)
	}
	if len(all) == 0 {
		_, err = fmt.Fprintln(w, "There are no tracks: add a table with kind = \"track\" to the config.")
		return err
	}
	rows := [][]terminal.Cell{terminal.Row("NO", "TRACK", "RECORDS", "SIZE", "SINCE", "RATE", "WAITING", "DROPPED", "STATE")}
	for _, t := range all {
		rows = append(rows, trackRow(t, time.Now()))
	}
	return terminal.Table(w, terminal.Painter(w), rows)
}

func trackRow(t recorded, now time.Time) []terminal.Cell {
	s := t.state
	since, state := "–", terminal.Cell{Text: "● ok", Colour: terminal.Green}
	if s.Oldest != nil {
		since = terminal.Age(now.Sub(s.Oldest.AsTime())) + " ago"
	}
	switch {
	case s.Trouble != "":
		state = terminal.Cell{Text: "◐ " + s.Trouble, Colour: terminal.Yellow}
	case !s.ClockRight:
		state = terminal.Cell{Text: "◐ clock not confirmed", Colour: terminal.Yellow}
	case s.Fields == 0:
		state = terminal.Cell{Text: "○ no sample of its points yet", Colour: terminal.Yellow}
	}
	some := func(n uint64) terminal.Cell {
		if n == 0 {
			return terminal.Cell{Text: "0"}
		}
		return terminal.Cell{Text: fmt.Sprint(n), Colour: terminal.Yellow}
	}
	return []terminal.Cell{
		{Text: fmt.Sprint(s.Number)}, {Text: t.path}, {Text: fmt.Sprint(s.Records)}, {Text: terminal.Size(s.Bytes)}, {Text: since},
		{Text: fmt.Sprintf("%.3g/s", s.Rate)}, some(s.Waiting), some(s.Dropped), state,
	}
}

func writeTracks(w io.Writer, all []recorded) error {
	for _, t := range all {
		text, err := protojson.Marshal(t.state)
		if err == nil {
			_, err = fmt.Fprintf(w, "{\"track\":%q,\"state\":%s}\n", t.path, terminal.Compact(text))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
