package look

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// CountersCommand returns "counters", which shows the counters of a line per unit.
func CountersCommand(c *client.Client) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "counters PATH",
		Short: "Show request counters and response times of Modbus units",
		Long: `Show how the requests to each unit on a Modbus line or link ended, since the
actor of the line or link was last started. PATH is a line or link, or a unit.

REFUSED counts exception responses by their code. MISMATCH counts answers from
another unit or to another request, LATE answers that came after their request
was given up, RETRIES requests that were repeated because the connection was
lost. BUSY is the time for which the unit occupied the line or connection. P50
and P95 are the times within which 50 and 95 of 100 answers arrived.`,
		Example: `  gatewayd counters field/rs485-1/line
  gatewayd counters field/rs485-1/meter-7 --json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.CompleteWho(client.LinkService, client.UnitService),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			return counters(cmd.Context(), c, cmd.OutOrStdout(), args[0])
		},
	}
	c.Flags(cmd)
	return cmd
}

func counters(ctx context.Context, c *client.Client, w io.Writer, path string) error {
	link, q, unit := path, &modbusv1.CountersRequest{}, &modbusv1.Unit{}
	switch is, err := c.ConfigInto(ctx, path, unit); {
	case err != nil:
		return c.Explain(err)
	case is:
		link, q.Unit = unit.Link, proto.Uint32(unit.Unit)
	}
	all := &modbusv1.CountersResponse{}
	if err := c.Ask(ctx, link, "Counters", q, all); err != nil {
		return c.Explain(err)
	}
	if c.AsJSON {
		return printJSON(w, all)
	}
	rows := [][]terminal.Cell{terminal.Row("UNIT", "REQUESTS", "ANSWERED", "REFUSED", "TIMEOUTS", "CORRUPT", "MISMATCH", "LATE", "RETRIES", "BUSY", "P50", "P95")}
	for _, u := range all.Units {
		rows = append(rows, countersRow(fmt.Sprint(u.Unit), u))
	}
	if q.Unit == nil {
		rows = append(rows, countersRow("all", all.Total))
	}
	if err := terminal.Table(w, terminal.Painter(w), rows); err != nil {
		return err
	}
	if all.Noise > 0 {
		_, err := fmt.Fprintf(w, "%s outside any frame\n", terminal.Counted(int(all.Noise), "byte"))
		return err
	}
	return nil
}

func countersRow(name string, u *modbusv1.Counters) []terminal.Cell {
	refused := ""
	for _, e := range u.Exceptions {
		if refused != "" {
			refused += ", "
		}
		refused += fmt.Sprintf("%d×%d", e.Count, e.Code)
	}
	if refused == "" {
		refused = "0"
	}
	bad := func(n uint64) terminal.Cell {
		if n == 0 {
			return terminal.Cell{Text: "0"}
		}
		return terminal.Cell{Text: fmt.Sprint(n), Colour: terminal.Yellow}
	}
	return []terminal.Cell{
		{Text: name}, {Text: fmt.Sprint(u.Requests)}, {Text: fmt.Sprint(u.Answered)}, {Text: refused}, bad(u.Timeouts), bad(u.Corrupt),
		bad(u.Mismatched), bad(u.Late), bad(u.Retries), {Text: u.Busy.AsDuration().Round(time.Millisecond).String()},
		{Text: quantile(u.Latency, 50)}, {Text: quantile(u.Latency, 95)},
	}
}

// quantile returns the response time that this percentage of answers did not exceed, as an upper or
// lower bound from the histogram's buckets.
func quantile(l *modbusv1.Latency, percent uint64) string {
	if l.GetCount() == 0 {
		return "–"
	}
	for _, b := range l.Buckets {
		if 100*b.Count >= percent*l.Count {
			return "≤" + b.Within.AsDuration().String()
		}
	}
	return ">" + l.Buckets[len(l.Buckets)-1].Within.AsDuration().String()
}
