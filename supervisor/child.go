package supervisor

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/power"
)

// child is an actor or a group supervised by this group.
type child struct {
	node  *config.Node
	path  string
	cell  *actors.Cell
	pid   *actor.PID // nil: not running
	state childState
	gen   int         // counts changes of state, so that timers of an earlier state are recognized as stale
	timer *time.Timer // of this state: the next attempt, or the deadline for stopping
	then  func()      // called once the child has stopped

	probed  time.Duration // when the unanswered probe was sent; 0: no probe is pending
	served  uint64
	reborn  uint32 // failures of lives up to this one are ignored: a new life has been started
	crashed bool   // a group that panicked; protoactor has suspended it
	healing bool   // acted on by the supervisor, and not healthy since
	leaving bool   // being removed from the group
	notOK   string // last reported state; empty: OK, or never started
	told    chronicle

	waitsFor *child      // owner of the power cycle that must complete before this child is restarted
	due      *time.Timer // next step of the power it owns
	out      [2]bool     // power functions that have not returned yet: off, on
}

type childState uint8

const (
	down     childState = iota // not running: never started, stopped, or its power is off
	up                         // running
	waiting                    // failed; to be restarted by a timer, a power cycle or the group above
	stopping                   // told to stop
	broken                     // its config can never work
)

// adopt adds a child for n without starting it.
func (g *group) adopt(n *config.Node) *child {
	c := &child{node: n, path: n.Path}
	cell, err := g.t.cell(n.Path, n)
	if err != nil {
		panic(err) // only one group owns a path
	}
	c.cell = cell
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	cell.OnHealth(func() { root.Send(self, changed{c}) })
	cell.SetSupervisor(g.steering()) // a running group replaces this by its own
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

// at returns the child with pid, or nil if there is none.
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

// start is launch for a child that nobody asked for by name. In safe mode the groups below the root
// are not started; a group started by name starts everything below it.
func (g *group) start(c *child) {
	if g.t.opts.SafeMode && g.path == Root && c.node.Kind == "" && c.pid == nil {
		c.cell.SetHealth(actors.Gone, "safe mode: the gateway kept failing")
		return
	}
	g.launch(c)
}

// launch starts a child that is not running as soon as that is allowed: not while its group stops,
// and not before the power cycle of something it depends on has completed.
func (g *group) launch(c *child) {
	switch {
	case g.phase == draining || c.leaving || c.pid != nil || g.inCycle(c):
	case g.isOff(c):
		g.switchBackOn(c)
	case g.joins(c):
		g.enter(c, waiting)
		g.starting(c, "waiting for the end of a power cycle")
	default:
		g.spawn(c)
	}
}

// spawn starts a child as a new protoactor process.
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

// starting reports a child that is not running yet as starting.
func (g *group) starting(c *child, why string) {
	c.notOK = actors.Starting
	c.cell.SetHealth(actors.Starting, why)
}

// renew starts a new life of a running child.
func (g *group) renew(c *child) {
	c.cell.Open()
	c.reborn = c.cell.Life()
	g.enter(c, up)
	g.pc.(actor.Supervisor).RestartChildren(c.pid)
}

// enter changes a child's state; timers set before become stale.
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

// switchBackOn starts the second half of a power cycle: the power of c is off, because a cycle failed or
// its group was stopped in the middle of one.
func (g *group) switchBackOn(c *child) {
	if s, _ := g.t.powerState(c.path); s.Phase != power.Off {
		g.t.setPower(c.path, power.State{Phase: power.Off, Since: g.t.now()})
	}
	g.enter(c, waiting)
	g.starting(c, "its power is off")
	g.beginCycle(c, []*child{c})
	g.step(c, power.Ticked)
}
