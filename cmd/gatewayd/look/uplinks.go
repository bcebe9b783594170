package look

import (
	"context"
	"encoding/json"
	"errors"
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
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// UplinksCommand returns "uplinks", which shows the progress of each uplink.
func UplinksCommand(c *client.Client) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "uplinks [PATH]",
		Short: "Show the backlog and progress of uplinks",
		Long: `Show for each uplink what it still has to send, how fast it sends, and what holds
it up.

WAITING is the number of stored records that the remote end has not acknowledged,
SIZE their size in the store and AGE the age of the oldest. RATE is the number of
records acknowledged per second, LAST the time since the last acknowledgement and
LEFT the estimated time to catch up. On a terminal, a bar shows how much of a
backlog has been sent.

STATE is idle (nothing to send), sending, catching-up (more than a batch to send),
waiting (to connect again), refused (the remote end accepts nothing), resting (in
quiet hours, or the data budget is used up) or, at the beginning, starting and
connecting.`,
		Example: `  gatewayd uplinks
  gatewayd uplinks --follow
  gatewayd uplinks uplinks/cloud --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.CompleteWho(client.UplinkService),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			return uplinks(cmd.Context(), c, cmd.OutOrStdout(), strings.Trim(strings.Join(args, ""), "/"), follow)
		},
	}
	c.Flags(cmd)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "refresh every second until interrupted")
	return cmd
}

// sending is one uplink and its status.
type sending struct {
	path   string
	status *uplinkv1.Status
}

func uplinks(ctx context.Context, c *client.Client, w io.Writer, top string, follow bool) error {
	for lines := 0; ; {
		all, err := sendings(ctx, c, top)
		if err != nil {
			return c.Explain(err)
		}
		if c.AsJSON {
			err = uplinksJSON(w, all)
		} else {
			if lines > 0 && terminal.Is(w) {
				fmt.Fprintf(w, "\x1b[%dA\x1b[J", lines)
			}
			fit := terminal.Wrap
			if follow {
				fit = terminal.Cut
			}
			lines, err = printUplinks(w, all, time.Now(), fit)
		}
		if err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// sendings returns the last status of each uplink, which the bus keeps. Observers are allowed to
// read it too.
func sendings(ctx context.Context, c *client.Client, top string) (all []sending, err error) {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	latest := map[string]*uplinkv1.Status{}
	err = c.Conn.Last(ctx, "gw."+c.Gateway+".state.>", func(r bus.Record) error {
		a, err := bus.ParseSubject(r.Subject)
		if err != nil || a.Leaf != "uplink" || len(r.Data) == 0 || top != "" && a.Path != top && !strings.HasPrefix(a.Path, top+"/") {
			return nil
		}
		m := &uplinkv1.Status{}
		if r.Decode(m) == nil {
			latest[a.Path] = m
		}
		return nil
	})
	for path, m := range latest {
		all = append(all, sending{path, m})
	}
	slices.SortFunc(all, func(a, b sending) int { return client.ComparePaths(a.path, b.path) })
	if err == nil && len(all) == 0 {
		err = errors.New("the gateway has no uplink: add a table of a kind like \"uplink-mqtt\" to the config")
		if top != "" {
			err = fmt.Errorf("no uplink has the path %q", top)
		}
	}
	return all, err
}

func uplinksJSON(w io.Writer, all []sending) error {
	out := make([]map[string]json.RawMessage, 0, len(all))
	for _, s := range all {
		text, err := protojson.Marshal(s.status)
		if err != nil {
			return err
		}
		one := map[string]json.RawMessage{}
		if err := json.Unmarshal(text, &one); err != nil {
			return err
		}
		if one["path"], err = json.Marshal(s.path); err != nil {
			return err
		}
		out = append(out, one)
	}
	text, err := json.Marshal(out)
	if err == nil {
		_, err = fmt.Fprintln(w, string(text))
	}
	return err
}

// printUplinks prints the table and returns how many lines of the terminal it takes. fit wraps or
// cuts columns.
func printUplinks(w io.Writer, all []sending, now time.Time, fit func(text string, width int) []string) (lines int, err error) {
	p := terminal.Painter(w)
	rows := [][]terminal.Cell{terminal.Row("NAME", "STATE", "WAITING", "SIZE", "AGE", "RATE", "LAST", "SENT", "LEFT", "WHY")}
	for _, s := range all {
		m := s.status
		left, why := "–", m.Why
		if m.CatchUp != nil {
			left = terminal.Age(m.CatchUp.AsDuration())
		}
		if n := m.Counts.GetRejected(); n > 0 {
			why = strings.TrimPrefix(why+fmt.Sprintf("; %d rejected", n), "; ")
		}
		if n := m.Counts.GetLost(); n > 0 {
			why = strings.TrimPrefix(why+fmt.Sprintf("; %d lost", n), "; ")
		}
		rows = append(rows, []terminal.Cell{
			{Text: s.path}, stateCell(m), {Text: fmt.Sprint(m.Backlog.GetRecords())}, {Text: terminal.Size(m.Backlog.GetBytes())}, {Text: terminal.Since(m.Backlog.GetOldest(), now)}, {Text: rateText(m.Rate)},
			{Text: terminal.Since(m.Acknowledged, now)}, {Text: fmt.Sprint(m.Counts.GetAcknowledged())}, {Text: left}, {Text: why},
		})
	}
	var text strings.Builder
	if err := terminal.Columns(&text, p, rows, terminal.Width(w), fit); err != nil {
		return 0, err
	}
	if terminal.Is(w) {
		for _, s := range all {
			if b := s.status.Backlog; b.GetRecords() > 0 && b.GetPeak() > b.GetRecords() {
				fmt.Fprintf(&text, "%s %s\n", s.path, p.In(terminal.Green, bar(b.Peak-b.Records, b.Peak, 40)))
			}
		}
	}
	_, err = io.WriteString(w, text.String())
	return terminal.Lines(text.String(), terminal.Width(w)), err
}

// UplinkText returns the progress of an uplink in one line.
func UplinkText(m *uplinkv1.Status) string {
	b := m.Backlog
	text := fmt.Sprintf("%d sent, %d waiting", m.Counts.GetAcknowledged(), b.GetRecords())
	if m.State == "catching-up" && b.GetPeak() > b.GetRecords() && b.GetRecords() > 0 {
		text = bar(b.Peak-b.Records, b.Peak, 16) + "  " + text
	}
	return text
}

// bar returns a bar that shows how much of all is done.
func bar(done, all uint64, width int) string {
	full := int(float64(done) / float64(max(all, 1)) * float64(width))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full) + fmt.Sprintf(" %d %%", int(float64(done)/float64(max(all, 1))*100))
}

func stateCell(m *uplinkv1.Status) terminal.Cell {
	c := terminal.Cell{Text: m.State}
	switch {
	case m.State == "waiting" || m.State == "refused" || m.State == "connecting" && m.Error != "":
		c.Colour = terminal.Red
	case m.State == "resting" || m.Slow:
		c.Colour = terminal.Yellow
	case m.State == "sending" || m.State == "catching-up" || m.State == "idle":
		c.Colour = terminal.Green
	}
	return c
}

func rateText(perSecond float64) string {
	switch {
	case perSecond < 0.05:
		return "–"
	case perSecond < 10:
		return fmt.Sprintf("%.1f/s", perSecond)
	}
	return fmt.Sprintf("%.0f/s", perSecond)
}
