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

// switching has to end some time, also where nobody has said when.
const patience = 30 * time.Second

// powerOf is what of a child can be power-cycled; nil: nothing.
func (g *group) powerOf(c *child) *actors.Power {
	k := c.cell.Kind()
	if k.Power == nil {
		return nil
	}
	p := k.Power(c.cell.Config())
	g.goOn()
	return p
}

// owners lists the children that own power.
func (g *group) owners() []*child {
	var all []*child
	for _, c := range g.children {
		if !c.leaving && g.powerOf(c) != nil {
			all = append(all, c)
		}
	}
	return all
}

// implicated lists the owners of power that a failure of c points at: itself,
// or, if it says that what it uses is stuck, those it names.
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

// timesOf are the hold times of what c owns: its kind's, overridden by the
// group's config. Those that a running cycle hits are stopped before Off.
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

// held is how long the cycle of what owner owns has to wait.
func (g *group) held(owner *child) time.Duration {
	s, known := g.t.powerState(owner.path)
	if !known || s.Phase != power.On {
		return 0
	}
	return max(0, g.timesOf(owner).HoldOn-(g.t.now()-s.Since))
}

// isUnlit reports whether c owns power that is not on.
func (g *group) isUnlit(c *child) bool {
	s, known := g.t.powerState(c.path)
	return known && s.Phase != power.On && g.powerOf(c) != nil
}

// letGo is called when c is taken out of the group: nobody owns its power any
// more, so it is left on, and nobody waits for it.
func (g *group) letGo(c *child) {
	p, times := g.powerOf(c), g.timesOf(c)
	unlit := g.isUnlit(c)
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
	g.lightUp(c, cy, c)
}
