package device

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/target"
)

// completePoint completes the path of a unit, then its points and the areas, and for a write the
// labels of the point.
func completePoint(c *client.Client, l *look, write bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return c.CompleteWho(client.UnitService)(cmd, args, prefix)
		}
		if len(args) > 1 && slices.Contains(areas, args[1]) || write && len(args) > 2 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), client.CompletionTime)
		defer cancel()
		known, _ := known(ctx, c, args[0], l.profile) // for a unit without points only areas are offered
		out := offered(known, len(args) == 1, write)
		if len(args) == 2 && write {
			out = valuesOf(known, args[1])
		}
		return slices.DeleteFunc(out, func(o string) bool { return !strings.HasPrefix(o, prefix) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// known returns the points of a unit from its config or profile, without asking the unit.
func known(ctx context.Context, c *client.Client, name, profileName string) (modbusunit.Known, error) {
	if target.Is(name) {
		d := direct{}
		if profileName != "" {
			var err error
			if d.profile, err = Profile(profileName); err != nil {
				return modbusunit.Known{}, err
			}
		}
		return d.points(ctx)
	}
	if err := c.Connect(ctx); err != nil {
		return modbusunit.Known{}, err
	}
	defer c.Close()
	return (&hosted{Client: c, path: name}).points(ctx)
}

// offered returns what may follow a unit: its points and, as the first argument, areas.
func offered(known modbusunit.Known, first, write bool) (out []string) {
	for _, p := range known.Points {
		if !write || p.Writable() {
			out = append(out, p.Name+"\t"+fmt.Sprint(p.Area, " ", p.Address))
		}
	}
	if !write {
		for _, p := range known.Computed {
			out = append(out, p.Name+"\tcomputed")
		}
	}
	if !first {
		return out
	}
	for _, a := range areas {
		if !write || (points.Point{Area: a}).Writable() {
			out = append(out, a+"\tfollowed by an address")
		}
	}
	return out
}

// valuesOf returns the labels of a point, or on and off.
func valuesOf(known modbusunit.Known, point string) (out []string) {
	i := slices.IndexFunc(known.Points, func(p points.Point) bool { return p.Name == point })
	if i < 0 {
		return nil
	}
	p := known.Points[i]
	if p.Finish != nil {
		for _, l := range slices.Concat(p.Finish.Labels, p.Finish.Flags) {
			out = append(out, fmt.Sprintf("%s\t%d", l.Text, l.Value))
		}
	}
	if out == nil && p.Type == points.Bool {
		out = []string{"on", "off"}
	}
	return out
}
