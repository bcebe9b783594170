package supervisor

import (
	"fmt"
	"time"

	"gatewayd/actors"
	"gatewayd/supervisor/power"
)

// ticked checks for children whose mailbox is not served any more, and for silence. An active child
// costs one comparison, an idle child one message every two ticks.
func (g *group) ticked() {
	g.turn.waits.Store(false)
	g.goRound()
	now := g.t.now()
	// Either the whole process stalled, or this group did.
	slept := now-g.looked > 2*max(g.probe, 20*time.Millisecond)
	g.looked = now
	if g.phase == draining {
		return
	}
	for _, c := range g.children {
		switch {
		case c.state != up:
		case slept && c.probed != 0:
			c.probed = now // it had no chance to answer
		default:
			g.look(c, now)
		}
	}
	if g.silence > 0 {
		g.listen(now)
	}
}

// listen checks for silence of the hardware that the group's children own.
func (g *group) listen(now time.Duration) {
	ago, ok := g.worked()
	for _, owner := range g.owners() {
		if s, known := g.t.powerState(owner.path); known && ok && now-ago > s.Pet {
			s.Pet = now - ago
			g.t.setPower(owner.path, s)
		}
		g.step(owner, power.Ticked)
	}
}

// look probes a child whose mailbox has not been served since the last look. A child that does not
// serve the probe in time hangs.
func (g *group) look(c *child, now time.Duration) {
	served := c.cell.Served()
	switch {
	case served != c.served:
		c.served, c.probed = served, 0
	case c.probed == 0:
		c.probed = now
		c.cell.Probe()
	case now-c.probed >= g.probe:
		g.hung(c, now-c.probed)
	}
}

func (g *group) hung(c *child, since time.Duration) {
	f := &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: fmt.Errorf("hangs: its mailbox has not been served for %s", since.Round(time.Millisecond))}
	if g.powerOf(c) != nil {
		f.Level = actors.LevelCycle // what it owns is stuck: one level higher
	}
	c.cell.SetHealth(actors.Bad, f.Error())
	c.then = func() { g.fail(c, f) }
	g.abandon(c, f.Error())
}
