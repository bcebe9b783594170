package supervisor

import (
	"time"

	"gatewayd/bus"
	"gatewayd/supervisor/config"
)

type (
	// change asks a group to change one of its children.
	change struct {
		config.Change
		done func()
	}
	// acked says that a change has been made, or takes too long.
	acked struct {
		a    *applying
		step int
	}
)

// heedConfig handles messages of a config change in progress.
func (g *group) heedConfig(msg any) {
	switch m := msg.(type) {
	case change:
		g.change(m)
	case parsed:
		g.parsed(m)
	case acked:
		if g.applying == m.a && m.a.step == m.step {
			g.next(m.a)
		}
	case kept:
		g.kept(m)
	case verdict:
		g.judgeConfig(m.a)
	case settle:
		g.fresh = g.fresh && !m.first
		g.settle()
	}
}

func (g *group) parsed(m parsed) {
	a := m.a
	if m.err == nil && len(m.problems) == 0 {
		m.err = startable(a.next)
	}
	switch {
	case m.err != nil:
		g.applying = nil
		a.req.Refuse(bus.Errorf(bus.Unavailable, "the config: %s", m.err))
		return
	case len(m.problems) > 0:
		g.applying = nil
		a.req.Reply(a.answer(refused(m.problems)))
		return
	}
	a.old = g.t.Config()
	a.all = config.Diff(a.old, a.next)
	if renames(a.all) {
		g.applying = nil
		a.req.Refuse(bus.Errorf(bus.FailedPrecondition, renamed))
		return
	}
	a.good, a.before, a.todo = a.old, g.t.standings(), a.all
	for _, w := range a.next.Warnings {
		g.t.sys.Log.Warn("config", "warning", w.String())
	}
	g.t.sys.Settle(nil)
	g.t.expect(a.next)
	for _, c := range a.all { // a group that does not answer is not there to do it
		g.t.update(pathOf(nodeOf(c)), update{})
	}
	g.next(a)
}

// next makes the next change, in the group it belongs to. A group that does not answer in time is
// being restarted or has been abandoned; its next life starts with the new config.
func (g *group) next(a *applying) {
	for a.step++; len(a.todo) > 0; a.step++ {
		c := a.todo[0]
		a.todo = a.todo[1:]
		node := nodeOf(c)
		owner := parent(c.Path)
		if node.Kind == "" && c.Action == config.Reconfigure {
			owner = pathOf(node)
		}
		cell := g.t.sys.Lookup(owner)
		if cell == nil || cell.PID() == nil {
			g.t.sys.Log.Info("this change takes effect when its group starts", "path", c.Path, "group", owner)
			continue
		}
		word := acked{a, a.step}
		limit := 10 * time.Second
		if c.Old != nil {
			limit += g.t.patience(c.Old, g.stop)
		}
		late := g.after(limit, word)
		self, root := g.pc.Self(), g.t.sys.Runtime().Root
		root.Send(cell.PID(), change{c, func() {
			late.Stop()
			root.Send(self, word)
		}})
		return
	}
	g.applied(a)
}

// nodeOf returns the node that a change creates or updates, or the one that it removes.
func nodeOf(c config.Change) *config.Node {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

// change carries out one change in this group.
func (g *group) change(m change) {
	g.t.update(pathOf(nodeOf(m.Change)), update{})
	if pathOf(nodeOf(m.Change)) == g.path {
		g.cell.SetConfig(m.New.Config)
		g.configure(m.New.Config)
		g.node = m.New
		m.done()
		return
	}
	c := g.child(m.Path)
	begin := func() {
		if g.child(m.Path) == nil {
			g.start(g.adopt(m.New))
		}
		m.done()
	}
	switch {
	case m.Action == config.Start && c == nil:
		begin()
	case m.Action == config.Stop && c != nil:
		g.remove(c, m.done)
	case m.Action == config.Restart && c != nil:
		g.remove(c, begin)
	case m.Action == config.Reconfigure && c != nil:
		c.node = m.New
		g.reconfigure(c, m.New.Config)
		m.done()
	default:
		m.done()
	}
}
