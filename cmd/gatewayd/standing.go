package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
)

// unknownGateway says of whom something is known instead.
func (c *client) unknownGateway(ctx context.Context) error {
	if c.fleet {
		return fmt.Errorf("nothing is known of a gateway %q: gatewayd fleet ls shows all that are there", c.gateway)
	}
	names, err := c.gateways(ctx)
	if err != nil || len(names) == 0 {
		return fmt.Errorf("nothing is known of a gateway %q", c.gateway)
	}
	slices.Sort(names)
	return fmt.Errorf("nothing is known of a gateway %q: here is %s", c.gateway, strings.Join(names, ", "))
}

// standing is how one actor or group is.
type standing struct {
	path   string
	health *actorv1.Health
}

// states asks for the health of everybody, as the bus keeps it, in the order of
// the tree; an observer may do that. boot is nil when nothing is known.
func (c *client) states(ctx context.Context) (all []standing, boot *gatewayv1.Boot, err error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	latest := map[string]*actorv1.Health{}
	err = c.conn.Last(ctx, "gw."+c.gateway+".state.>", func(r bus.Record) error {
		a, err := bus.ParseSubject(r.Subject)
		switch {
		case err != nil, len(r.Data) == 0: // taken back: a new config does not have it any more
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
		all = append(all, standing{path, h})
	}
	slices.SortFunc(all, func(a, b standing) int { return comparePaths(a.path, b.path) })
	return all, boot, err
}

func pathsOf(all []standing) []string {
	paths := make([]string, len(all))
	for i, s := range all {
		paths[i] = s.path
	}
	return paths
}

// nearest is a hint at the path that was probably meant.
func nearest(path string, all []standing) string { return schemas.DidYouMeanPath(path, pathsOf(all)) }
