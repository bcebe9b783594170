package supervisor

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/supervisor/config"
)

// drain stops all children in reverse order; then it calls what follows.
func (g *group) drain(then func()) {
	g.phase = draining
	g.stopInOrder(g.children, then)
}

// stopInOrder stops these children in reverse order, one after the other, each
// within its deadline.
func (g *group) stopInOrder(list []*child, then func()) {
	for _, c := range slices.Backward(list) {
		if c.pid != nil {
			g.stopChild(c, func() { g.stopInOrder(list, then) })
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
	c.cell.Close("it is stopping")
	if c.node.Kind == "" && !c.crashed {
		g.pc.Send(c.pid, drain{})
	} else {
		g.pc.Stop(c.pid)
	}
	g.after(g.patience(c.node), overdue{c, c.gen})
}

// patience is how long a child may take to stop: its deadline, and for a group
// those of all below it.
func (g *group) patience(n *config.Node) time.Duration {
	d := g.stop
	for _, below := range n.Children {
		d += g.patience(below)
	}
	return d
}

// terminated is protoactor's word that a child has stopped.
func (g *group) terminated(pid *actor.PID) {
	c := g.byPID[pid.Id]
	delete(g.byPID, pid.Id)
	if c == nil || c.pid == nil || c.pid.Id != pid.Id {
		return
	}
	g.gone(c)
}

// gone is a child that has stopped or was left behind.
func (g *group) gone(c *child) {
	was, then := c.state, c.then
	c.pid, c.then = nil, nil
	g.enter(c, down)
	if then != nil {
		then()
	} else if was == up && g.phase != draining {
		g.fail(c, &actors.Fault{Path: c.path, Life: c.cell.Life(), Err: errors.New("it stopped by itself")})
	}
}

// abandon leaves a child behind that does not react any more: it is muted, its
// descriptors are closed, and protoactor is told that it is gone, for otherwise
// this group could never stop. A group is left behind with all below it.
func (g *group) abandon(c *child, why string) {
	g.t.sys.Log.Error("left behind", "actor", c.path, "why", why)
	pid := c.pid
	g.t.leave(c.path)
	delete(g.byPID, pid.Id)
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
	for _, cell := range t.sys.Cells() {
		if p := cell.Path(); p != path && !strings.HasPrefix(p, path+"/") {
			continue
		}
		cell.Close("it hung and was left behind")
		cell.Fence()
		if pid := cell.PID(); pid != nil {
			runtime.Root.Stop(pid)
			runtime.ProcessRegistry.Remove(pid)
		}
	}
	t.forget(path)
}

// remove takes a child out for good.
func (g *group) remove(c *child, then func()) {
	g.stopChild(c, func() {
		walk(c.node, func(n *config.Node) {
			if cell := g.t.sys.Lookup(n.Path); cell != nil {
				cell.SetHealth(actors.Gone, "removed from the config")
				cell.Remove()
			}
		})
		g.t.forget(c.path)
		delete(g.rec.children, c.path)
		delete(g.notOK, c)
		g.children = slices.DeleteFunc(g.children, func(x *child) bool { return x == c })
		g.sum()
		then()
	})
}
