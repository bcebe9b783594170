package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/terminal"
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
				if strings.HasPrefix(s.path, prefix) && c.serves(s.health.Kind, services) {
					out = append(out, s.path+"\t"+s.health.Kind+", "+s.health.State)
				}
			}
			return out
		})
	}
}

// serves says whether a kind has one of these services, if there are any.
func (c *client) serves(kind string, services []string) bool {
	return len(services) == 0 || slices.ContainsFunc(c.kinds, func(k actors.Kind) bool {
		return k.Name == kind && slices.ContainsFunc(k.Offers(), func(s string) bool { return slices.Contains(services, s) })
	})
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
				out = append(out, m.Name+"\t"+terminal.FirstSentence(m.Doc))
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
