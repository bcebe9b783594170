package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// way is the direction in which power is switched.
type way int

const (
	off way = iota
	on
)

func (w way) String() string { return [...]string{"off", "on"}[w] }

// cycle is the power cycle of what one child owns. It affects that child and the siblings whose
// config names it, and no others.
type cycle struct {
	owner  *child
	hit    []*child // affected children, in the order of the config
	ctx    context.Context
	cancel context.CancelFunc
}

func (g *group) beginCycle(owner *child, hit []*child) *cycle {
	cy := &cycle{owner: owner, hit: hit}
	cy.ctx, cy.cancel = context.WithCancel(g.line.ctx)
	if g.cycles == nil {
		g.cycles = map[*child]*cycle{}
	}
	g.cycles[owner] = cy
	return cy
}

// dropCycle ends a cycle; later messages about it are stale.
func (g *group) dropCycle(owner *child) {
	if cy := g.cycles[owner]; cy != nil {
		cy.cancel()
		delete(g.cycles, owner)
	}
	if owner.due != nil {
		owner.due.Stop()
		owner.due = nil
	}
}

func (g *group) dropCycles() {
	for _, c := range g.children {
		g.dropCycle(c)
	}
}

// inCycle reports whether c is down because of a power cycle.
func (g *group) inCycle(c *child) bool {
	for _, cy := range g.cycles {
		if slices.Contains(cy.hit, c) {
			return true
		}
	}
	return false
}

// joins adds c, which is not running, to the children that a running cycle starts at its end, if c
// depends on what is cycled.
func (g *group) joins(c *child) bool {
	for owner, cy := range g.cycles {
		if names(c, owner.path) {
			cy.hit = append(cy.hit, c)
			return true
		}
	}
	return false
}

// step feeds an event to the power state machine of what owner owns, and carries out its actions.
func (g *group) step(owner *child, e power.Event) {
	if owner.leaving {
		return
	}
	now := g.t.now()
	state, known := g.t.powerState(owner.path)
	if !known {
		state = power.New(now)
		state.Since = 0 // unknown since when: at the latest when this process started
	}
	next, do, wait := g.timesOf(owner).Step(state, e, now)
	g.t.setPower(owner.path, next)
	g.stepDue(owner, next, wait)
	for _, a := range do {
		switch a {
		case power.Silent:
			cause := fmt.Sprintf("no actor in %s has proved that it works for %s", g.path, (now - state.Pet).Round(time.Second))
			owner.healing = true
			g.say(owner, ladder.Action{Level: ladder.Cycle, Delay: g.held(owner)}, cause, owner.cell.Life())
		case power.DoOff:
			g.switchOff(owner)
		case power.DoOn:
			if g.cycles[owner] == nil { // another attempt after a failed one
				g.beginCycle(owner, []*child{owner})
			}
			g.toggle(g.cycles[owner], on)
		case power.Done:
			g.endCycle(owner, nil)
		case power.Failed:
			g.endCycle(owner, owner)
			g.fail(owner, &actors.Fault{Path: owner.path, Life: owner.cell.Life(), Level: actors.LevelCycle, Err: errors.New("the power cycle did not help")})
		}
	}
}

// stepDue sets the timer for the next time-driven step; each owner has one timer.
func (g *group) stepDue(owner *child, s power.State, wait time.Duration) {
	if owner.due != nil {
		owner.due.Stop()
		owner.due = nil
	}
	if wait > 0 && (s.Phase != power.On || s.Wanted) {
		owner.due = g.after(wait, powerDue{owner})
	}
}

func (g *group) switchOff(owner *child) {
	var hit []*child
	for _, c := range g.children {
		if c == owner || c.state != broken && names(c, owner.path) {
			hit = append(hit, c)
		}
	}
	cy := g.beginCycle(owner, hit)
	g.step(owner, power.Ticked) // Now the time needed to stop the affected children is known.
	g.stopInOrder(hit, func() {
		if s, _ := g.t.powerState(owner.path); g.cycles[owner] == cy && s.Phase == power.SwitchingOff {
			g.toggle(cy, off)
		}
	})
}

// toggle runs the kind's own function outside the mailbox. A function that never returns is
// abandoned, and not called again while it hangs; the state machine continues by its hold times.
func (g *group) toggle(cy *cycle, way way) {
	owner := cy.owner
	p, limit := g.powerOf(owner), g.timesOf(owner).Off
	if way == on {
		limit = g.timesOf(owner).On
	}
	fn := func(context.Context) error { return errors.New("the previous attempt still hangs") }
	free := !owner.out[way]
	if free {
		owner.out[way] = true
		fn = nil
		if p != nil {
			fn = []func(context.Context) error{p.Off, p.On}[way]
		}
	}
	g.aside(func() any {
		ctx, cancel := context.WithTimeout(cy.ctx, limit)
		defer cancel()
		return switched{cy, way, free, guarded(ctx, fn)}
	})
}

func (g *group) switched(m switched) {
	owner := m.cy.owner
	if m.called {
		owner.out[m.way] = false
	}
	if m.err != nil {
		g.t.sys.Log.Warn("power", "actor", owner.path, "way", m.way.String(), "err", m.err)
	}
	if g.cycles[owner] != m.cy { // the cycle is over
		return
	}
	switch {
	case m.way == off:
		g.step(owner, power.SwitchedOff)
	case m.err != nil:
		g.step(owner, power.StuckOff)
	default:
		g.step(owner, power.SwitchedOn)
	}
}

// endCycle restarts all children affected by the cycle of owner, except but.
func (g *group) endCycle(owner, but *child) {
	cy := g.cycles[owner]
	g.dropCycle(owner)
	g.startAfter(owner, cy, but)
}

// startAfter starts the children that are down because of a finished cycle of owner, and those that
// wait for a cycle that will not happen.
func (g *group) startAfter(owner *child, cy *cycle, but *child) {
	for _, c := range slices.Clone(g.children) {
		switch hit := cy != nil && slices.Contains(cy.hit, c); {
		case c == but || c.state == broken && c != owner:
		case hit && c.state == stopping:
			g.stopChild(c, func() { g.launch(c) })
		case hit && c.pid == nil:
			g.launch(c)
		case !hit && c.waitsFor == owner:
			g.revive(c)
		}
	}
}
