package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewayd/actors"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/power"
)

// switching on has to end some time, also where nobody has said when.
const patienceOn = 30 * time.Second

// powers lists what the group can power-cycle, in the order of its children.
func (g *group) powers() []*actors.Power {
	var all []*actors.Power
	for _, c := range g.children {
		if k := c.cell.Kind(); k.Power != nil {
			if p := k.Power(c.cell.Config()); p != nil {
				all = append(all, p)
			}
		}
	}
	return all
}

func (g *group) hasPower() bool {
	for _, c := range g.children {
		if g.ownsPower(c) {
			return true
		}
	}
	return false
}

func (g *group) ownsPower(c *child) bool { return c.cell.Kind().Power != nil }

// powerTimes are the group's hold times, or those its hardware brings.
func (g *group) powerTimes(own *gatewayv1.Power) power.Times {
	merged := &gatewayv1.Power{}
	for _, n := range g.node.Children {
		k := g.t.kinds[n.Kind]
		if k == nil || k.Power == nil {
			continue
		}
		if p := k.Power(n.Config); p != nil {
			longest(merged, p.Hold)
		}
	}
	override(merged, own)
	t := power.Times{
		Off: merged.Off.AsDuration(), MinOff: merged.MinOff.AsDuration(), HoldOn: merged.HoldOn.AsDuration(),
		On: merged.On.AsDuration(), Silence: g.silence,
	}
	for _, n := range g.node.Children {
		t.Off += g.patience(n) // they are stopped first
	}
	if t.On == 0 {
		t.On = patienceOn
	}
	return t
}

func longest(into, p *gatewayv1.Power) {
	if p.GetOff().AsDuration() > into.Off.AsDuration() {
		into.Off = p.Off
	}
	if p.GetMinOff().AsDuration() > into.MinOff.AsDuration() {
		into.MinOff = p.MinOff
	}
	if p.GetHoldOn().AsDuration() > into.HoldOn.AsDuration() {
		into.HoldOn = p.HoldOn
	}
	if p.GetOn().AsDuration() > into.On.AsDuration() {
		into.On = p.On
	}
}

func override(into, p *gatewayv1.Power) {
	if p.GetOff() != nil {
		into.Off = p.Off
	}
	if p.GetMinOff() != nil {
		into.MinOff = p.MinOff
	}
	if p.GetHoldOn() != nil {
		into.HoldOn = p.HoldOn
	}
	if p.GetOn() != nil {
		into.On = p.On
	}
}

// step feeds the power machine and carries its actions out.
func (g *group) step(e power.Event) {
	next, do, wait := g.times.Step(g.rec.power, e, g.t.now())
	g.rec.power = next
	if wait > 0 {
		g.after(wait, powerDue{})
	}
	for _, a := range do {
		switch a {
		case power.Silent:
			g.t.sys.Log.Warn("nobody here has proved any work: power cycle", "group", g.path, "silence", g.silence)
		case power.DoOff:
			g.switchOff()
		case power.DoOn:
			g.drained = nil
			g.toggle(true, g.times.On)
		case power.Done:
			g.startAll()
		case power.Failed:
			g.phase = running
			g.giveUp("the power cycle of " + g.path + " did not work")
		}
	}
}

func (g *group) switchOff() {
	g.phase = dark
	g.drain(func() { g.toggle(false, g.times.Off) })
}

// toggle runs the kinds' own functions outside the mailbox. One that never
// returns is left behind; the machine goes on by its hold times.
func (g *group) toggle(on bool, limit time.Duration) {
	powers := g.powers()
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		root.Send(self, switched{on, toggleAll(ctx, powers, on)})
	}()
}

func toggleAll(ctx context.Context, powers []*actors.Power, on bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var errs []error
	for _, p := range powers {
		fn := p.Off
		if on {
			fn = p.On
		}
		if fn != nil {
			errs = append(errs, fn(ctx))
		}
	}
	return errors.Join(errs...)
}

func (g *group) switched(m switched) {
	if m.err != nil {
		g.t.sys.Log.Warn("power", "group", g.path, "on", m.on, "err", m.err)
	}
	switch {
	case !m.on:
		g.step(power.SwitchedOff)
	case m.err != nil:
		g.step(power.StuckOff)
	default:
		g.step(power.SwitchedOn)
	}
}
