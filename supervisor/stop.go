package supervisor

import (
	"errors"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
)

// drain stops all children in reverse order; then it calls what follows.
func (g *group) drain(then func()) {
	g.phase = draining
	g.dropCycles()
	g.stopInOrder(slices.Clone(g.children), then)
}

// stopInOrder stops these children in reverse order, one after the other, each
// within its deadline.
func (g *group) stopInOrder(list []*child, then func()) {
	for i, c := range slices.Backward(list) {
		if c.pid != nil {
			g.stopChild(c, func() { g.stopInOrder(list[:i], then) })
			return
		}
	}
	then()
}

// stopChild stops one child and calls then when it is gone, one way or the other.
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

// whyClosed is what callers are told of a child that stops.
func (g *group) whyClosed(c *child) string {
	if g.phase == draining || c.leaving {
		return "it is stopping"
	}
	return "it is being started again: try again in a moment"
}

// terminated is protoactor's word that a child has stopped.
func (g *group) terminated(pid *actor.PID) {
	if c := g.at(pid); c != nil {
		g.gone(c)
	}
}

// gone is a child that has stopped or was left behind.
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
			g.fail(c, &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: errors.New("it stopped by itself")})
		}
	case c.state == stopping:
		g.enter(c, down)
	}
}

// abandon leaves a child behind that does not react any more: it is muted, its
// descriptors are closed, and protoactor is told that it is gone, for otherwise
// this group could never stop. A group is left behind with all below it.
func (g *group) abandon(c *child, why string) {
	g.t.sys.Log.Error("left behind", "actor", c.path, "why", why)
	pid := c.pid
	g.t.leave(c.path)
	sys := g.t.sys.Runtime()
	if me, ok := sys.ProcessRegistry.Get(g.pc.Self()); ok {
		me.SendSystemMessage(g.pc.Self(), &actor.Terminated{Who: pid})
	}
	g.gone(c)
}

// leave mutes whatever lives at path and below, and takes it out of protoactor's
// registry.
func (t *Tree) leave(path string) {
	runtime := t.sys.Runtime()
	for _, cell := range t.within(path) {
		cell.Close("it hung and was left behind")
		cell.Fence()
		t.cut(cell.Path())
		if cell.State() != actors.Bad {
			cell.SetHealth(actors.Bad, "it hung and was left behind")
		}
		if pid := cell.PID(); pid != nil {
			runtime.Root.Stop(pid)
			runtime.ProcessRegistry.Remove(pid)
		}
	}
	t.pardon(path)
}

// within lists the cells at path and below.
func (t *Tree) within(path string) []*actors.Cell {
	cell := t.sys.Lookup(path)
	if cell == nil || cell.Kind().Name != groupKind.Name {
		return slices.DeleteFunc([]*actors.Cell{cell}, func(c *actors.Cell) bool { return c == nil })
	}
	return slices.DeleteFunc(t.sys.Cells(), func(c *actors.Cell) bool {
		return c != cell && !strings.HasPrefix(c.Path(), path+"/")
	})
}

// remove takes a child out for good.
func (g *group) remove(c *child, then func()) {
	c.leaving = true
	g.letGo(c)
	g.stopChild(c, func() {
		if slices.Contains(g.children, c) {
			for _, cell := range g.t.within(c.path) {
				g.t.bury(cell)
			}
			delete(g.rec.children, c.path)
			delete(g.rec.cycles, c.path)
			g.children = slices.DeleteFunc(slices.Clone(g.children), func(x *child) bool { return x == c })
			g.sumSoon()
		}
		then()
	})
}

// bury takes the cell of somebody who has stopped for good out of the directory.
func (t *Tree) bury(cell *actors.Cell) {
	cell.Remove()
	t.forget(cell.Path())
}

// sweep buries what an earlier life of the group at path held and the config
// does not have any more: it was removed while nobody held it. A group that is
// about to be removed itself is left alone.
func (t *Tree) sweep(path string) {
	if t.nodeAt(path) == nil {
		return
	}
	for _, cell := range t.within(path) {
		if n := t.nodeAt(cell.Path()); n == nil || t.kindOf(n) != cell.Kind() {
			t.bury(cell)
		}
	}
}
