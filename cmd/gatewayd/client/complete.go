package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/terminal"
)

// CompletionTime is the longest that completion may take after a press of Tab.
const CompletionTime = time.Second

// complete runs look on a running gateway. Without one there is nothing to offer.
func (c *Client) complete(cmd *cobra.Command, look func(ctx context.Context) []string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), CompletionTime)
	defer cancel()
	if c.Connect(ctx) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	return look(ctx), cobra.ShellCompDirectiveNoFileComp
}

// Offer completes a flag with fixed words.
func Offer(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// CompletePath completes the paths of all actors and groups.
func (c *Client) CompletePath(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return c.CompleteWho()(cmd, args, prefix)
}

// Services by which commands select actors.
const (
	LinkService    = "modbus.v1.LinkService"
	UnitService    = "modbus.v1.UnitService"
	MastersService = "modbus.v1.MastersService"
	UplinkService  = "uplink.v1.UplinkService"
)

// CompleteWho completes the paths of actors whose kind has one of these services, or of all actors
// if none is given.
func (c *Client) CompleteWho(services ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return c.complete(cmd, func(ctx context.Context) []string {
			all, _, _ := c.States(ctx)
			var out []string
			for _, s := range all {
				if strings.HasPrefix(s.Path, prefix) && c.serves(s.Health.Kind, services) {
					out = append(out, s.Path+"\t"+s.Health.Kind+", "+s.Health.State)
				}
			}
			return out
		})
	}
}

// serves reports whether a kind has one of these services; true if services is empty.
func (c *Client) serves(kind string, services []string) bool {
	return len(services) == 0 || slices.ContainsFunc(c.kinds, func(k actors.Kind) bool {
		return k.Name == kind && slices.ContainsFunc(k.Offers(), func(s string) bool { return slices.Contains(services, s) })
	})
}

// CompleteMethod completes paths, then the methods of the chosen actor.
func (c *Client) CompleteMethod(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return c.CompletePath(cmd, args, prefix)
	}
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.complete(cmd, func(ctx context.Context) []string {
		d, err := c.Describe(ctx, args[0])
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

// CompleteFilter completes classes, then filters for everything an actor publishes in a class.
func (c *Client) CompleteFilter(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	class, _, deep := strings.Cut(prefix, "/")
	if !deep {
		return []string{"data/", "event/", "state/", "trace/"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return c.complete(cmd, func(ctx context.Context) []string {
		all, _, _ := c.States(ctx)
		out := []string{class + "/#"}
		for _, s := range all {
			if f := class + "/" + s.Path + "/#"; strings.HasPrefix(f, prefix) {
				out = append(out, f+"\t"+s.Health.Kind)
			}
		}
		return out
	})
}

// completeGateways completes the gateways on the bus.
func (c *Client) completeGateways(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c.Gateway = ""
	ctx, cancel := context.WithTimeout(cmd.Context(), CompletionTime)
	defer cancel()
	if c.Dial() != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	names, _ := c.gateways(ctx)
	slices.Sort(names)
	return names, cobra.ShellCompDirectiveNoFileComp
}
