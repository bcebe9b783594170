package supervisor

import (
	"errors"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
)

// drain stops all children in reverse order, and then calls then.
func (g *group) drain(then func()) {
	g.phase = draining
	g.dropCycles()
	g.stopInOrder(slices.Clone(g.children), then)
}

// stopInOrder stops these children in reverse order, one after the other, each within its deadline.
func (g *group) stopInOrder(list []*child, then func()) {
	for i, c := range slices.Backward(list) {
		if c.pid != nil {
			g.stopChild(c, func() { g.stopInOrder(list[:i], then) })
			return
		}
	}
	then()
}

// stopChild stops one child and calls then when it has stopped or was abandoned.
func (g *group) stopChild(c *child, then func()) {
	switch {
	case c.pid == nil:
		g.enter(c, down)
		then()
		return
	case c.state == stopping:
		first := c.then
		c.then = func() { first(); then() }
		return
	}
	g.enter(c, stopping)
	c.then = then
	c.cell.Close(g.whyClosed(c))
	if c.node.Kind == "" && !c.crashed {
		g.pc.Send(c.pid, drain{})
	} else {
		g.pc.Stop(c.pid)
	}
	c.timer = g.after(g.t.patience(c.node, g.stop), overdue{c, c.gen})
}

// whyClosed returns the reason that callers of a stopping child get.
func (g *group) whyClosed(c *child) string {
	if g.phase == draining || c.leaving {
		return "it is stopping"
	}
	return "it is being restarted: try again in a moment"
}

// terminated handles protoactor's message that a child has stopped.
func (g *group) terminated(pid *actor.PID) {
	if c := g.at(pid); c != nil {
		g.gone(c)
	}
}

// gone handles a child that has stopped or was abandoned.
func (g *group) gone(c *child) {
	then := c.then
	c.pid, c.then = nil, nil
	if c.node.Kind == "" {
		c.cell.SetSupervisor(g.steering())
	}
	switch {
	case then != nil:
		g.enter(c, down)
		then()
	case c.state == up:
		g.enter(c, down)
		if g.phase != draining {
			g.fail(c, &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: errors.New("it ended by itself")})
		}
	case c.state == stopping:
		g.enter(c, down)
	}
}

// abandon gives up a child that does not react any more: the child is muted, its descriptors are
// closed, and protoactor is told that it has terminated, because otherwise this group could never
// stop. A group is abandoned with everything below it.
func (g *group) abandon(c *child, why string) {
	g.t.sys.Log.Error("an actor was abandoned", "actor", c.path, "why", why)
	pid := c.pid
	g.t.leave(c.path)
	sys := g.t.sys.Runtime()
	if me, ok := sys.ProcessRegistry.Get(g.pc.Self()); ok {
		me.SendSystemMessage(g.pc.Self(), &actor.Terminated{Who: pid})
	}
	g.gone(c)
}

// leave mutes everything at path and below, and removes it from protoactor's registry.
func (t *Tree) leave(path string) {
	runtime := t.sys.Runtime()
	for _, cell := range t.within(path) {
		cell.Close("it hung and was abandoned")
		cell.Fence()
		t.cut(cell.Path())
		if cell.State() != actors.Bad {
			cell.SetHealth(actors.Bad, "it hung and was abandoned")
		}
		if pid := cell.PID(); pid != nil {
			runtime.Root.Stop(pid)
			runtime.ProcessRegistry.Remove(pid)
		}
	}
	t.resetBudgets(path)
}

// within returns the cells at path and below.
func (t *Tree) within(path string) []*actors.Cell {
	cell := t.sys.Lookup(path)
	if cell == nil || cell.Kind().Name != groupKind.Name {
		return slices.DeleteFunc([]*actors.Cell{cell}, func(c *actors.Cell) bool { return c == nil })
	}
	return slices.DeleteFunc(t.sys.Cells(), func(c *actors.Cell) bool {
		return c != cell && !strings.HasPrefix(c.Path(), path+"/")
	})
}

// remove removes a child for good.
func (g *group) remove(c *child, then func()) {
	c.leaving = true
	g.release(c)
	g.stopChild(c, func() {
		if slices.Contains(g.children, c) {
			for _, cell := range g.t.within(c.path) {
				g.t.drop(cell)
			}
			delete(g.rec.children, c.path)
			delete(g.rec.cycles, c.path)
			g.children = slices.DeleteFunc(slices.Clone(g.children), func(x *child) bool { return x == c })
			g.sumSoon()
		}
		then()
	})
}

// drop removes the cell of an actor that has stopped for good from the directory.
func (t *Tree) drop(cell *actors.Cell) {
	cell.Remove()
	t.forget(cell.Path())
}

// sweep removes the cells that an earlier life of the group at path created and that the config no
// longer has: they left the config while the group was not running. A group that is itself about to
// be removed is left alone.
func (t *Tree) sweep(path string) {
	if t.nodeAt(path) == nil {
		return
	}
	for _, cell := range t.within(path) {
		if n := t.nodeAt(cell.Path()); n == nil || t.kindOf(n) != cell.Kind() {
			t.drop(cell)
		}
	}
}
