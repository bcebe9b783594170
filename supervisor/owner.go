package supervisor

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/power"
)

// patience bounds switching if neither the kind nor the config says how long it takes.
const patience = 30 * time.Second

// powerOf returns what a child owns that can be power-cycled; nil: nothing.
func (g *group) powerOf(c *child) *actors.Power {
	k := c.cell.Kind()
	if k.Power == nil {
		return nil
	}
	p := k.Power(c.cell.Config())
	g.goOn()
	return p
}

// owners returns the children that own power.
func (g *group) owners() []*child {
	var all []*child
	for _, c := range g.children {
		if !c.leaving && g.powerOf(c) != nil {
			all = append(all, c)
		}
	}
	return all
}

// implicated returns the owners of power that a failure of c implicates: c itself, or, if the fault
// says that something c uses is stuck, the owners that c names.
func (g *group) implicated(c *child, level actors.Level) []*child {
	if g.powerOf(c) != nil {
		return []*child{c}
	}
	if level != actors.LevelCycle {
		return nil
	}
	return slices.DeleteFunc(g.owners(), func(owner *child) bool { return !names(c, owner.path) })
}

// names reports whether a child's config names the actor at path.
func names(c *child, path string) bool {
	if c.node.Kind == "" {
		return false
	}
	return slices.ContainsFunc(schemas.References(c.cell.Config()), func(r schemas.Reference) bool { return r.Name == path })
}

// timesOf returns the hold times of what c owns: those of its kind, overridden by the group's
// config. Off includes the time to stop the children affected by a running cycle.
func (g *group) timesOf(c *child) power.Times {
	hold := &gatewayv1.Power{}
	if p := g.powerOf(c); p != nil && p.Hold != nil {
		hold = p.Hold
	}
	pick := func(get func(*gatewayv1.Power) *durationpb.Duration) time.Duration {
		if d := get(g.power).AsDuration(); d > 0 {
			return d
		}
		return get(hold).AsDuration()
	}
	t := power.Times{
		Off: pick((*gatewayv1.Power).GetOff), MinOff: pick((*gatewayv1.Power).GetMinOff),
		HoldOn: pick((*gatewayv1.Power).GetHoldOn), On: pick((*gatewayv1.Power).GetOn),
		Silence: g.silence,
	}
	if t.Off == 0 {
		t.Off = patience
	}
	if t.On == 0 {
		t.On = patience
	}
	if cy := g.cycles[c]; cy != nil {
		for _, h := range cy.hit {
			t.Off += g.t.patience(h.node, g.stop)
		}
	}
	return t
}

// held returns how long the cycle of what owner owns still has to wait.
func (g *group) held(owner *child) time.Duration {
	s, known := g.t.powerState(owner.path)
	if !known || s.Phase != power.On {
		return 0
	}
	return max(0, g.timesOf(owner).HoldOn-(g.t.now()-s.Since))
}

// isOff reports whether c owns power that is not on.
func (g *group) isOff(c *child) bool {
	s, known := g.t.powerState(c.path)
	return known && s.Phase != power.On && g.powerOf(c) != nil
}

// release is called when c is removed from the group: nobody owns its power any more, so the power is
// left on, and nobody waits for it.
func (g *group) release(c *child) {
	p, times := g.powerOf(c), g.timesOf(c)
	unlit := g.isOff(c)
	state, _ := g.t.powerState(c.path)
	rest := times.MinOff
	if state.Phase == power.Off {
		rest -= g.t.now() - state.Since
	}
	cy := g.cycles[c]
	g.dropCycle(c)
	g.t.setPower(c.path, power.State{})
	if unlit && p != nil {
		time.AfterFunc(max(0, rest), func() {
			ctx, cancel := context.WithTimeout(context.Background(), times.On)
			defer cancel()
			if err := guarded(ctx, p.On); err != nil {
				g.t.sys.Log.Warn("power", "actor", c.path, "way", on.String(), "err", err)
			}
		})
	}
	g.startAfter(c, cy, c)
}
