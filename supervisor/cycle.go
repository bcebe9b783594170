package supervisor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/power"
)

// switching on has to end some time, also where nobody has said when.
const patienceOn = 30 * time.Second

// cycle is the power cycle of what one child owns. It hits that child and the
// siblings whose config names it, and nobody else.
type cycle struct {
	owner *child
	hit   []*child // in the order of the config
}

// powerOf is what of a child can be power-cycled; nil: nothing.
func powerOf(c *child) *actors.Power {
	if k := c.cell.Kind(); k.Power != nil {
		return k.Power(c.cell.Config())
	}
	return nil
}

// owners lists the children that own power.
func (g *group) owners() []*child {
	var all []*child
	for _, c := range g.children {
		if powerOf(c) != nil {
			all = append(all, c)
		}
	}
	return all
}

// implicated lists the owners of power that a failure of c points at: itself,
// or, if it says that what it uses is stuck, those it names.
func (g *group) implicated(c *child, level actors.Level) []*child {
	if powerOf(c) != nil {
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

// isDark reports whether c is down because of a power cycle.
func (g *group) isDark(c *child) bool {
	for _, cy := range g.cycles {
		if slices.Contains(cy.hit, c) {
			return true
		}
	}
	return false
}

// timesOf are the hold times of what c owns: its kind's, overridden by the
// group's config.
func (g *group) timesOf(c *child) power.Times {
	hold := &gatewayv1.Power{}
	if p := powerOf(c); p != nil && p.Hold != nil {
		hold = p.Hold
	}
	pick := func(get func(*gatewayv1.Power) time.Duration) time.Duration {
		if d := get(g.power); d > 0 {
			return d
		}
		return get(hold)
	}
	t := power.Times{
		Off:    pick(func(p *gatewayv1.Power) time.Duration { return p.GetOff().AsDuration() }),
		MinOff: pick(func(p *gatewayv1.Power) time.Duration { return p.GetMinOff().AsDuration() }),
		HoldOn: pick(func(p *gatewayv1.Power) time.Duration { return p.GetHoldOn().AsDuration() }),
		On:     pick(func(p *gatewayv1.Power) time.Duration { return p.GetOn().AsDuration() }),
	}
	t.Silence = g.silence
	for _, n := range g.node.Children {
		t.Off += g.patience(n) // those it hits are stopped first
	}
	if t.On == 0 {
		t.On = patienceOn
	}
	return t
}

// step feeds the power machine of what owner owns and carries its actions out.
func (g *group) step(owner *child, e power.Event) {
	state, known := g.rec.power[owner.path]
	if !known {
		state = power.New(g.t.now())
		state.Since = 0 // it may have been on for long: nobody has cycled it yet
	}
	next, do, wait := g.timesOf(owner).Step(state, e, g.t.now())
	g.rec.power[owner.path] = next
	if wait > 0 && (next.Phase != power.On || next.Wanted) {
		g.after(wait, powerDue{owner})
	}
	for _, a := range do {
		switch a {
		case power.Silent:
			g.t.sys.Log.Warn("nobody has proved any work: power cycle", "actor", owner.path, "silence", g.silence)
		case power.DoOff:
			g.switchOff(owner)
		case power.DoOn:
			if g.cycles[owner] == nil { // another try after a failed one
				g.cycles[owner] = &cycle{owner, []*child{owner}}
			}
			g.toggle(owner, true)
		case power.Done:
			g.lightUp(owner, nil)
		case power.Failed:
			g.lightUp(owner, owner)
			g.fail(owner, &actors.Fault{Path: owner.path, Life: owner.cell.Life(), Level: actors.LevelCycle, Err: fmt.Errorf("the power cycle did not work")})
		}
	}
}

func (g *group) switchOff(owner *child) {
	cy := &cycle{owner: owner}
	for _, c := range g.children {
		if c == owner || names(c, owner.path) {
			cy.hit = append(cy.hit, c)
		}
	}
	g.cycles[owner] = cy
	g.stopInOrder(cy.hit, func() { g.toggle(owner, false) })
}

// toggle runs the kind's own function outside the mailbox. One that never
// returns is left behind; the machine goes on by its hold times.
func (g *group) toggle(owner *child, on bool) {
	times, p := g.timesOf(owner), powerOf(owner)
	fn, limit := (func(context.Context) error)(nil), times.Off
	if p != nil {
		fn = p.Off
	}
	if on {
		limit = times.On
		if p != nil {
			fn = p.On
		}
	}
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		root.Send(self, switched{owner, on, guarded(ctx, fn)})
	}()
}

func guarded(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if fn == nil {
		return nil
	}
	return fn(ctx)
}

func (g *group) switched(m switched) {
	if m.err != nil {
		g.t.sys.Log.Warn("power", "actor", m.owner.path, "on", m.on, "err", m.err)
	}
	switch {
	case !m.on:
		g.step(m.owner, power.SwitchedOff)
	case m.err != nil:
		g.step(m.owner, power.StuckOff)
	default:
		g.step(m.owner, power.SwitchedOn)
	}
}

// lightUp ends a cycle: whoever it hit gets a new life, but for one.
func (g *group) lightUp(owner, but *child) {
	cy := g.cycles[owner]
	delete(g.cycles, owner)
	if cy == nil || g.phase == draining {
		return
	}
	for _, c := range cy.hit {
		if c != but && c.pid == nil && !g.isDark(c) && slices.Contains(g.children, c) {
			g.spawn(c)
		}
	}
}
