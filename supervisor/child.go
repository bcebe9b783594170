package supervisor

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/power"
)

// child is an actor or a group that this group holds.
type child struct {
	node  *config.Node
	path  string
	cell  *actors.Cell
	pid   *actor.PID // nil: not there
	state childState
	gen   int         // counts changes of state: timers of an earlier one are stale
	timer *time.Timer // of this state: the next try, or the deadline for stopping
	then  func()      // runs once it has stopped

	probed  time.Duration // when the unanswered probe was sent; 0: none is out
	served  uint64
	reborn  uint32 // failures of lives up to this one are past: a new life is under way
	crashed bool   // a group that panicked: protoactor has suspended it
	healing bool   // hit by the supervisor and not seen well since
	leaving bool   // being taken out of the group
	notOK   string // its state as it was last told; empty: it is OK, or was never there
	told    chronicle

	waitsFor *child      // who has to be power-cycled before it is tried again
	due      *time.Timer // of the power it owns
	out      [2]bool     // its power functions that have not returned yet: off, on
}

type childState uint8

const (
	down     childState = iota // not running: never started, stopped, its power is off
	up                         // running
	waiting                    // failed; a timer, a power cycle or the group above tries it again
	stopping                   // told to stop
	broken                     // its config can never work
)

// adopt makes a child of n, not started yet.
func (g *group) adopt(n *config.Node) *child {
	c := &child{node: n, path: n.Path}
	cell, err := g.t.cell(n.Path, n)
	if err != nil {
		panic(err) // only one group holds a path
	}
	c.cell = cell
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	cell.OnHealth(func() { root.Send(self, changed{c}) })
	cell.SetSupervisor(g.steering()) // a group that runs takes this over
	g.children = append(g.children, c)
	return c
}

func (g *group) child(path string) *child {
	for _, c := range g.children {
		if c.path == path {
			return c
		}
	}
	return nil
}

// at is the child that protoactor has at pid; nil: there is none any more.
func (g *group) at(pid *actor.PID) *child {
	for _, c := range g.children {
		if c.pid != nil && c.pid.Id == pid.Id {
			return c
		}
	}
	return nil
}

func (g *group) startAll() {
	if g.ending {
		return
	}
	g.phase = running
	for _, c := range g.children {
		g.start(c)
	}
}

// start is launch for a child that nobody asked for by name: in safe mode the
// groups of the root stay where they are. Whoever asks for one gets all it holds.
func (g *group) start(c *child) {
	if g.t.opts.SafeMode && g.path == Root && c.node.Kind == "" && c.pid == nil {
		c.cell.SetHealth(actors.Gone, "safe mode: the gateway kept failing")
		return
	}
	g.launch(c)
}

// launch gives a child that is not there a life as soon as it may have one: not
// while its group stops, nor before the power cycle of what it needs is over.
func (g *group) launch(c *child) {
	switch {
	case g.phase == draining || c.leaving || c.pid != nil || g.isDark(c):
	case g.isUnlit(c):
		g.relight(c)
	case g.joins(c):
		g.enter(c, waiting)
		g.starting(c, "waits for the end of a power cycle")
	default:
		g.spawn(c)
	}
}

// spawn gives a child that is not there a first life, or a new place to live.
func (g *group) spawn(c *child) {
	c.node = g.t.current(c.node)
	c.cell.SetConfig(g.t.configOf(c.node))
	c.cell.Prepare()
	pid, err := g.pc.SpawnNamed(g.t.props(c.node, c.cell), g.t.sys.SpawnName(c.cell.Token()))
	if err != nil {
		panic(fmt.Errorf("start %s: %w", c.path, err)) // salted names do not collide
	}
	c.pid, c.crashed = pid, false
	c.cell.Bind(pid)
	c.notOK = actors.Starting
	g.enter(c, up)
}

// starting says so of a child that is not there yet.
func (g *group) starting(c *child, why string) {
	c.notOK = actors.Starting
	c.cell.SetHealth(actors.Starting, why)
}

// renew gives a child that is there a new life.
func (g *group) renew(c *child) {
	c.cell.Open()
	c.reborn = c.cell.Life()
	g.enter(c, up)
	g.pc.(actor.Supervisor).RestartChildren(c.pid)
}

// enter changes a child's state; timers set before are stale.
func (g *group) enter(c *child, s childState) {
	c.state = s
	c.gen++
	c.probed = 0
	c.waitsFor = nil
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// relight begins with switching on: the power of c is off, because a cycle did
// not work or its group was stopped in the middle of one.
func (g *group) relight(c *child) {
	if s, _ := g.t.powerState(c.path); s.Phase != power.Off {
		g.t.setPower(c.path, power.State{Phase: power.Off, Since: g.t.now()})
	}
	g.enter(c, waiting)
	g.starting(c, "its power is off")
	g.beginCycle(c, []*child{c})
	g.step(c, power.Ticked)
}
