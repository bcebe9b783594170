package look

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// BudgetCommand returns "budget", which shows how the time of a line is spent.
func BudgetCommand(c *client.Client) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "budget PATH",
		Short: "Show how the time of a Modbus line or link is used, and the room left",
		Long: `Show how much of the time of a Modbus line or link each scan group on it needs,
from the response times measured so far. PATH is a line or link, or a unit.

SCAN is the time that one scan takes on the line. SLACK is how much longer scans
of the group could take before no time is left. WORST is the longest time from a
scan's slot to its end if all groups are due at the same moment. ROOM is how many
more units like this one fit comfortably, scanned every --every if that is given.`,
		Example: `  gatewayd budget field/rs485-1/line
  gatewayd budget field/rs485-1/meter-7 --every 5s`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.CompleteWho(client.LinkService),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			q := &modbusv1.BudgetRequest{}
			if every > 0 {
				q.Every = durationpb.New(every)
			}
			return budget(cmd.Context(), c, cmd.OutOrStdout(), args[0], q)
		},
	}
	c.Flags(cmd)
	cmd.Flags().DurationVar(&every, "every", 0, "scan interval of the additional units that ROOM counts")
	return cmd
}

func budget(ctx context.Context, c *client.Client, w io.Writer, path string, q *modbusv1.BudgetRequest) error {
	link, unit := path, &modbusv1.Unit{}
	switch is, err := c.ConfigInto(ctx, path, unit); {
	case err != nil:
		return c.Explain(err)
	case is:
		link, q.Like = unit.Link, path
	}
	b := &modbusv1.BudgetResponse{}
	if err := c.Ask(ctx, link, "Budget", q, b); err != nil {
		return c.Explain(err)
	}
	if c.AsJSON {
		return printJSON(w, b)
	}
	return printBudget(w, link, b)
}

func printBudget(w io.Writer, link string, b *modbusv1.BudgetResponse) error {
	p := terminal.Painter(w)
	rows := [][]terminal.Cell{terminal.Row("UNIT", "GROUP", "EVERY", "REQUESTS", "SCAN", "NEEDS", "SLACK", "WORST", "LATENCY", "ROOM")}
	for _, u := range b.Units {
		for i, g := range u.Groups {
			row := budgetRow(g)
			if i == 0 {
				row[0].Text, row[8].Text = u.Unit, u.Latency.AsDuration().Round(10*time.Microsecond).String()
				if u.Room != nil {
					row[9].Text = fmt.Sprint(*u.Room)
				}
			}
			rows = append(rows, row)
		}
	}
	if err := terminal.Table(w, p, rows); err != nil {
		return err
	}
	text := fmt.Sprintf("%s needs %s of its time", link, share(b.Needed))
	if b.Others > 0 {
		text += fmt.Sprintf(", %s of that for requests other than polls", share(b.Others))
	}
	if s := b.Silent; s != nil {
		text += fmt.Sprintf("; if it were silent, %s would delay the others by up to %s", s.Unit, s.Pause.AsDuration().Round(time.Millisecond))
	}
	if _, err := fmt.Fprintln(w, text); err != nil || b.Overload == "" {
		return err
	}
	_, err := fmt.Fprintln(w, p.In(terminal.Yellow, b.Overload))
	return err
}

func budgetRow(g *modbusv1.GroupBudget) []terminal.Cell {
	slack := terminal.Cell{Text: g.Slack.AsDuration().Round(time.Millisecond).String()}
	if g.Slack.AsDuration() < 0 {
		slack.Colour = terminal.Red
	}
	worst := terminal.Cell{Text: "–"}
	if g.Worst != nil {
		worst.Text = g.Worst.AsDuration().Round(time.Millisecond).String()
		if g.Worst.AsDuration() > g.Every.AsDuration() {
			worst.Colour = terminal.Yellow
		}
	}
	name := terminal.Cell{Text: g.Group}
	if g.Shed {
		name = terminal.Cell{Text: g.Group + " (suspended)", Colour: terminal.Yellow}
	}
	return []terminal.Cell{
		{}, name, {Text: g.Every.AsDuration().String()}, {Text: fmt.Sprint(g.Requests)},
		{Text: g.Scan.AsDuration().Round(100 * time.Microsecond).String()}, {Text: share(g.Needed)}, slack, worst, {}, {},
	}
}

func share(percent float64) string { return fmt.Sprintf("%.1f %%", percent) }
