package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
)

func treeCommand() *cobra.Command {
	c := &client{}
	cmd := &cobra.Command{
		Use:   "tree [PATH]",
		Short: "Show every actor and group, how it is and why",
		Example: `  gatewayd tree
  gatewayd tree field/rs485-1
  gatewayd tree --json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: c.completePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.connect(cmd.Context()); err != nil {
				return err
			}
			defer c.close()
			all, boot, err := c.states(cmd.Context())
			if err != nil {
				return c.explain(err)
			}
			top := ""
			if len(args) > 0 {
				top = strings.Trim(args[0], "/")
			}
			shown := below(all, top)
			if len(shown) == 0 {
				return fmt.Errorf("no actor is called %q%s", top, nearest(top, all))
			}
			if c.asJSON {
				return treeJSON(cmd.OutOrStdout(), shown)
			}
			return printTree(cmd.OutOrStdout(), c.gateway, shown, boot, time.Now())
		},
	}
	c.flags(cmd)
	return cmd
}

// standing is how one actor or group is.
type standing struct {
	path   string
	health *actorv1.Health
}

func (s standing) removed() bool {
	return s.health.State == actors.Gone && s.health.Cause == removedCause
}

// removedCause is what the supervisor says last of an actor that a new config
// does not have any more.
const removedCause = "removed from the config"

// states asks for the health of everybody, as the bus keeps it, in the order of
// the tree; an observer may do that. boot is nil when nothing is known.
func (c *client) states(ctx context.Context) (all []standing, boot *gatewayv1.Boot, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	latest := map[string]*actorv1.Health{}
	err = c.conn.Last(ctx, "gw."+c.gateway+".state.>", func(r bus.Record) error {
		a, err := bus.ParseSubject(r.Subject)
		switch {
		case err != nil:
		case a.Leaf == "health":
			h := &actorv1.Health{}
			if r.Decode(h) == nil {
				latest[a.Path] = h
			}
		case a.Leaf == "boot" && a.Path == supervisor.Root:
			boot = &gatewayv1.Boot{}
			return r.Decode(boot)
		}
		return nil
	})
	if err == nil && len(latest) == 0 {
		err = fmt.Errorf("nothing is known of a gateway %q", c.gateway)
	}
	for path, h := range latest {
		all = append(all, standing{path, h})
	}
	all = slices.DeleteFunc(all, standing.removed)
	slices.SortFunc(all, func(a, b standing) int { return comparePaths(a.path, b.path) })
	return all, boot, err
}

// comparePaths puts the root first, what the gateway always has next, and then
// the others by name, numbers in names by their value.
func comparePaths(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; i < len(as) && i < len(bs); i++ {
		if as[i] == bs[i] {
			continue
		}
		if i == 0 {
			if d := cmp.Compare(place(as[0]), place(bs[0])); d != 0 {
				return d
			}
		}
		return compareTokens(as[i], bs[i])
	}
	return cmp.Compare(len(as), len(bs))
}

func place(top string) int {
	if top == supervisor.Root {
		return 0
	}
	if i := slices.Index(implicit, top); i >= 0 {
		return 1 + i
	}
	return 1 + len(implicit)
}

// compareTokens compares names so that meter-2 comes before meter-10.
func compareTokens(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if d := cmp.Or(cmp.Compare(len(n), len(m)), cmp.Compare(n, m)); d != 0 {
				return d
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits s begins with.
func digits(s string) int {
	if n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }); n >= 0 {
		return n
	}
	return len(s)
}

// below is the part of the tree from top on; "" and the root are all of it.
func below(all []standing, top string) []standing {
	if top == "" || top == supervisor.Root {
		return all
	}
	var part []standing
	for _, s := range all {
		if s.path == top || strings.HasPrefix(s.path, top+"/") {
			part = append(part, s)
		}
	}
	return part
}

// branches draws the tree: for each path, which stand in its order, the lines
// that lead to it and its last name.
func branches(paths []string, gateway string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		if path == supervisor.Root {
			out[i] = gateway
			continue
		}
		depth := strings.Count(path, "/")
		base := 0
		if paths[0] != supervisor.Root {
			base = strings.Count(paths[0], "/") + 1
		}
		if depth < base {
			out[i] = path // the top of a part
			continue
		}
		var b strings.Builder
		for d := base; d <= depth; d++ {
			more := continues(paths[i+1:], path, d)
			switch {
			case d < depth && more:
				b.WriteString("│  ")
			case d < depth:
				b.WriteString("   ")
			case more:
				b.WriteString("├─ ")
			default:
				b.WriteString("└─ ")
			}
		}
		out[i] = b.String() + path[strings.LastIndexByte(path, '/')+1:]
	}
	return out
}

// continues reports whether a later path is a sibling of path's ancestor at
// this depth.
func continues(later []string, path string, depth int) bool {
	own := strings.Split(path, "/")[:depth+1]
	parent, self := strings.Join(own[:depth], "/"), strings.Join(own, "/")
	for _, p := range later {
		if p == self || strings.HasPrefix(p, self+"/") {
			continue
		}
		return parent == "" || strings.HasPrefix(p, parent+"/")
	}
	return false
}

func pathsOf(all []standing) []string {
	paths := make([]string, len(all))
	for i, s := range all {
		paths[i] = s.path
	}
	return paths
}

func printTree(w io.Writer, gateway string, all []standing, boot *gatewayv1.Boot, now time.Time) error {
	p := painter(w)
	rows := [][]cell{plain("NAME", "KIND", "HEALTH", "SINCE", "LIFE", "CAUSE")}
	for i, name := range branches(pathsOf(all), gateway) {
		h := all[i].health
		row := plain(name, h.Kind, "", age(now.Sub(h.Since.AsTime())), fmt.Sprint(h.Life), h.Cause)
		row[2] = healthCell(h.State)
		rows = append(rows, row)
	}
	if err := table(w, p, rows); err != nil {
		return err
	}
	if boot.GetSafeMode() {
		_, err := fmt.Fprintln(w, p.in(red, "safe mode: the gateway kept failing, so its groups stay stopped ("+boot.Who+": "+boot.Why+")"))
		return err
	}
	return nil
}

func treeJSON(w io.Writer, all []standing) error {
	type row struct {
		Path  string    `json:"path"`
		Kind  string    `json:"kind"`
		State string    `json:"state"`
		Cause string    `json:"cause,omitempty"`
		Since time.Time `json:"since"`
		Life  uint32    `json:"life"`
	}
	rows := []row{}
	for _, s := range all {
		rows = append(rows, row{s.path, s.health.Kind, s.health.State, s.health.Cause, s.health.Since.AsTime(), s.health.Life})
	}
	return json.NewEncoder(w).Encode(rows)
}
