package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewayd/actors"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/power"
	"gatewayd/supervisor/watchdog"
)

// ticked looks for children whose mailbox is not served any more, and for
// silence.
func (g *group) ticked() {
	defer g.armTick()
	if g.phase == draining {
		return
	}
	now := g.t.now()
	for _, c := range g.children {
		if c.state == up {
			g.look(c, now)
		}
	}
	if g.silence > 0 {
		g.listen(now)
	}
}

// listen looks for silence of what the group's children own.
func (g *group) listen(now time.Duration) {
	ago, ok := g.worked()
	for _, owner := range g.owners() {
		if s, known := g.rec.power[owner.path]; known && ok && now-ago > s.Pet {
			s.Pet = now - ago
			g.rec.power[owner.path] = s
		}
		g.step(owner, power.Ticked)
	}
}

// look probes a child that has not been served since the last look; one that
// does not serve the probe in time hangs.
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
	if powerOf(c) != nil {
		f.Level = actors.LevelCycle // what it owns is stuck: one level higher
	}
	c.cell.SetHealth(actors.Bad, f.Error())
	c.then = func() { g.fail(c, f) }
	g.abandon(c, f.Error())
}

// worked is how long ago anybody below proved that he works.
func (g *group) worked() (ago time.Duration, ok bool) {
	walk(g.node, func(n *config.Node) {
		if n.Kind == "" {
			return
		}
		cell := g.t.sys.Lookup(n.Path)
		if cell == nil {
			return
		}
		if d, has := cell.Worked(); has && (!ok || d < ago) {
			ago, ok = d, true
		}
	})
	return ago, ok
}

// attest asks a group for proof that it works.
type attest struct{ to chan<- proof }

type proof struct {
	path string
	ago  time.Duration
	why  string // what is missing; "" if the proof is good
}

func (g *group) attest() proof {
	p := proof{path: g.path}
	if g.silence > 0 {
		ago, ok := g.worked()
		switch {
		case !ok:
			p.why = "nobody in it has proved any work yet"
		case ago > g.silence:
			p.why = fmt.Sprintf("nobody in it has proved any work for %s", ago.Round(time.Second))
		default:
			p.ago = ago
		}
	}
	return p
}

// Evidence collects proof from the root and from all critical groups, through
// their mailboxes. It is what the watchdog is petted on.
func (t *Tree) Evidence(ctx context.Context) (watchdog.Evidence, error) {
	paths := []string{Root}
	cfg := t.Config()
	if cfg == nil {
		return watchdog.Evidence{}, errors.New("the tree has not started")
	}
	cfg.Walk(func(n *config.Node) {
		if c, ok := n.Config.(*gatewayv1.Group); ok && n.Kind == "" && c.Critical && !t.opts.SafeMode {
			paths = append(paths, n.Path)
		}
	})
	proofs := make(chan proof, len(paths))
	waiting := map[string]bool{}
	var e watchdog.Evidence
	for _, p := range paths {
		cell := t.sys.Lookup(p)
		if cell == nil || cell.PID() == nil {
			e.Missing = append(e.Missing, watchdog.Missing{Path: p, Reason: "it has not started"})
			continue
		}
		waiting[p] = true
		t.sys.Runtime().Root.Send(cell.PID(), attest{proofs})
	}
	for len(waiting) > 0 {
		select {
		case p := <-proofs:
			delete(waiting, p.path)
			if p.why != "" {
				e.Missing = append(e.Missing, watchdog.Missing{Path: p.path, Reason: p.why})
				continue
			}
			e.Alive++
			e.Age = max(e.Age, p.ago)
		case <-ctx.Done():
			for p := range waiting {
				e.Missing = append(e.Missing, watchdog.Missing{Path: p, Reason: "its mailbox is not served"})
			}
			return e, nil
		}
	}
	return e, nil
}
