package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/target"
	"gatewayd/schemas"
)

// completionTime bounds what a press of Tab waits for.
const completionTime = time.Second

// complete runs look on a running gateway; without one there is nothing to offer.
func (c *client) complete(cmd *cobra.Command, look func(ctx context.Context) []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	if c.connect(ctx) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close()
	return look(ctx), cobra.ShellCompDirectiveNoFileComp
}

// offer lets the shell complete a flag that takes one of these words.
func offer(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completePath offers the paths of all actors and groups.
func (c *client) completePath(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return c.completeWho()(cmd, args, prefix)
}

// Services of which commands ask.
const (
	linkService    = "modbus.v1.LinkService"
	unitService    = "modbus.v1.UnitService"
	mastersService = "modbus.v1.MastersService"
	uplinkService  = "uplink.v1.UplinkService"
)

// completeWho offers the paths of all actors whose kind has one of these services, or of all there are.
func (c *client) completeWho(services ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.complete(cmd, func(ctx context.Context) []string {
			all, _, _ := c.states(ctx)
			var out []string
			for _, s := range all {
				if strings.HasPrefix(s.path, prefix) && serves(s.health.Kind, services) {
					out = append(out, s.path+"\t"+s.health.Kind+", "+s.health.State)
				}
			}
			return out
		})
	}
}

// serves says whether a kind has one of these services, if there are any.
func serves(kind string, services []string) bool {
	return len(services) == 0 || slices.ContainsFunc(kinds, func(k actors.Kind) bool {
		return k.Name == kind && slices.ContainsFunc(k.Offers(), func(s string) bool { return slices.Contains(services, s) })
	})
}

// completePoint offers paths, then the points and areas of the unit chosen, and for a write what the point may be called.
func (c *client) completePoint(l *look, write bool) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return c.completeWho(unitService)(cmd, args, prefix)
		}
		if len(args) > 1 && slices.Contains(areas, args[1]) || write && len(args) > 2 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		known, _ := c.known(ctx, args[0], l.profile) // of a unit without points areas are offered
		out := offered(known, len(args) == 1, write)
		if len(args) == 2 && write {
			out = valuesOf(known, args[1])
		}
		return slices.DeleteFunc(out, func(o string) bool { return !strings.HasPrefix(o, prefix) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// known is what points a unit has, without asking it.
func (c *client) known(ctx context.Context, name, profileName string) (modbusunit.Known, error) {
	if target.Is(name) {
		d := direct{}
		if profileName != "" {
			var err error
			if d.profile, err = profile(profileName); err != nil {
				return modbusunit.Known{}, err
			}
		}
		return d.points(ctx)
	}
	if err := c.connect(ctx); err != nil {
		return modbusunit.Known{}, err
	}
	defer c.close()
	return (&hosted{client: c, path: name}).points(ctx)
}

// offered is what may follow a unit: points, and at first areas.
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
			out = append(out, a+"\tthen an address")
		}
	}
	return out
}

// valuesOf is what a point that was named may be called.
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

// completeMethod offers paths, then the methods of the one chosen.
func (c *client) completeMethod(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.completePath(cmd, args, prefix)
	}
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context) []string {
		d, err := c.describe(ctx, args[0])
		if err != nil {
			return nil
		}
		var out []string
		for _, m := range d.Methods {
			if strings.HasPrefix(m.Name, prefix) {
				out = append(out, m.Name+"\t"+firstSentence(m.Doc))
			}
		}
		return out
	})
}

// completeFilter offers classes, then what a class has below each actor.
func (c *client) completeFilter(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	class, _, deep := strings.Cut(prefix, "/")
	if !deep {
		return []string{"data/", "event/", "state/", "trace/"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return c.complete(cmd, func(ctx context.Context) []string {
		all, _, _ := c.states(ctx)
		out := []string{class + "/#"}
		for _, s := range all {
			if f := class + "/" + s.path + "/#"; strings.HasPrefix(f, prefix) {
				out = append(out, f+"\t"+s.health.Kind)
			}
		}
		return out
	})
}

// completeGateways offers the gateways on the bus.
func (c *client) completeGateways(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c.gateway = ""
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	if c.dial() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.close()
	names, _ := c.gateways(ctx)
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}

// nearest is a hint at the path that was probably meant.
func nearest(path string, all []standing) string { return schemas.DidYouMeanPath(path, pathsOf(all)) }

// firstSentence is a doc comment in short, on one line.
func firstSentence(doc string) string {
	doc = strings.Join(strings.Fields(doc), " ")
	if i := strings.Index(doc, ". "); i >= 0 {
		return doc[:i+1]
	}
	return doc
}
