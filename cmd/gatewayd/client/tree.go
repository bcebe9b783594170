package client

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
)

// Standing is the health of one actor or group.
type Standing struct {
	Path   string
	Health *actorv1.Health
}

// States returns the health of all actors and groups, which the bus keeps, in the order of the
// tree. Observers are allowed to read it too. boot is nil if it is not known.
func (c *Client) States(ctx context.Context) (all []Standing, boot *gatewayv1.Boot, err error) {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	latest := map[string]*actorv1.Health{}
	err = c.Conn.Last(ctx, "gw."+c.Gateway+".state.>", func(r bus.Record) error {
		a, err := bus.ParseSubject(r.Subject)
		switch {
		case err != nil, len(r.Data) == 0: // withdrawn: the config no longer has this actor
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
		err = c.unknownGateway(ctx)
	}
	for path, h := range latest {
		all = append(all, Standing{path, h})
	}
	slices.SortFunc(all, func(a, b Standing) int { return ComparePaths(a.Path, b.Path) })
	return all, boot, err
}

// unknownGateway returns the error for a gateway of which nothing is known. It names those that are
// known.
func (c *Client) unknownGateway(ctx context.Context) error {
	if c.fleet {
		return fmt.Errorf("unknown gateway %q: gatewayd fleet ls lists all", c.Gateway)
	}
	names, err := c.gateways(ctx)
	if err != nil || len(names) == 0 {
		return fmt.Errorf("unknown gateway %q", c.Gateway)
	}
	slices.Sort(names)
	return fmt.Errorf("unknown gateway %q; known: %s", c.Gateway, strings.Join(names, ", "))
}

// PathsOf returns the paths of all.
func PathsOf(all []Standing) []string {
	paths := make([]string, len(all))
	for i, s := range all {
		paths[i] = s.Path
	}
	return paths
}

// Nearest returns a suggestion of the path that was probably meant.
func Nearest(path string, all []Standing) string { return schemas.DidYouMeanPath(path, PathsOf(all)) }

// ComparePaths orders paths: first the root, then the actors every gateway has, then the others by
// name, with numbers in names compared by value.
func ComparePaths(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; i < len(as) && i < len(bs); i++ {
		if as[i] == bs[i] {
			continue
		}
		if i == 0 {
			if d := cmp.Compare(Place(as[0]), Place(bs[0])); d != 0 {
				return d
			}
		}
		return CompareTokens(as[i], bs[i])
	}
	return cmp.Compare(len(as), len(bs))
}

// Place returns the rank of a top-level name: 0 for the root, then the actors every gateway has,
// then all others.
func Place(top string) int {
	if top == supervisor.Root {
		return 0
	}
	if i := slices.Index(files.Implicit, top); i >= 0 {
		return 1 + i
	}
	return 1 + len(files.Implicit)
}

// CompareTokens compares names so that meter-2 comes before meter-10.
func CompareTokens(a, b string) int {
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

// digits returns the number of digits at the beginning of s.
func digits(s string) int {
	if n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }); n >= 0 {
		return n
	}
	return len(s)
}

// Branches draws the tree. For each path it returns the branches that lead to it and its last name.
// The paths must be in order.
func Branches(paths []string, gateway string) []string {
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
			out[i] = path // the top of a part of the tree
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

// continues reports whether a later path is a sibling of the ancestor of path at this depth.
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
