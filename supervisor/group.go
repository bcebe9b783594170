package supervisor

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// group is one life of a group. All its methods run in its mailbox.
type group struct {
	t    *Tree
	path string
	node *config.Node
	cell *actors.Cell
	rec  *record
	pc   actor.Context

	ladder   ladder.Ladder
	actors   ladder.Ladder // for children that are actors
	power    *gatewayv1.Power
	probe    time.Duration
	stop     time.Duration
	silence  time.Duration
	children []*child // in the order of the config
	byPID    map[string]*child

	phase    phase
	cycles   map[*child]*cycle
	tick     *time.Timer
	notOK    map[*child]string
	summing  bool
	applying *applying // root only: the config change under way
}

type phase uint8

const (
	running  phase = iota
	draining       // all children are being stopped, in reverse order
	gaveUp         // the group above has been told and will decide
)

// child is an actor or a group that this group holds.
type child struct {
	node  *config.Node
	path  string
	cell  *actors.Cell
	pid   *actor.PID // nil: not spawned
	state childState
	gen   int    // counts changes of state: timers of an earlier one are stale
	then  func() // runs once it has stopped

	probed  time.Duration // when the unanswered probe was sent; 0: none is out
	served  uint64
	crashed bool // a group that panicked: protoactor has suspended it
	healing bool // hit by the supervisor and not seen well since
}

type childState uint8

const (
	down     childState = iota // not running: never started, broken, removed, its power is off
	up                         // running
	waiting                    // failed, will be tried again
	stopping                   // told to stop
)

// Messages a group sends itself or gets from its like.
type (
	drain  struct{} // stop the children in order, then yourself
	ticked struct{}
	retry  struct {
		c   *child
		gen int
	}
	overdue struct {
		c   *child
		gen int
	}
	changed   struct{ c *child }
	escalated struct{ path, cause string }
	switched  struct {
		owner *child
		on    bool
		err   error
	}
	powerDue struct{ owner *child }
	summed   struct{}
)

func newGroup(t *Tree, n *config.Node, cell *actors.Cell) *group {
	g := &group{t: t, path: pathOf(n), node: n, cell: cell, byPID: map[string]*child{}, cycles: map[*child]*cycle{}, notOK: map[*child]string{}}
	g.rec = t.record(g.path)
	return g
}

// Receive implements actor.Actor.
func (g *group) Receive(pc actor.Context) {
	if g.path == Root {
		defer g.lastStand()
	}
	if r, mine := g.cell.Took(pc.Message()); mine {
		if r != nil {
			g.serve(r)
		}
		return
	}
	switch m := pc.Message().(type) {
	case *actor.Started:
		g.pc = pc
		g.begin()
	case *actor.Stopping, *actor.Restarting:
		g.phase = draining
		g.tick.Stop()
	case *actor.Stopped:
		g.cell.SetHealth(actors.Gone, "")
		if g.path == Root {
			close(g.t.done)
		}
	case *actor.Terminated:
		g.terminated(m.Who)
	case drain:
		g.drain(func() { pc.Stop(pc.Self()) })
	case ticked:
		g.ticked()
	case retry:
		if m.c.gen == m.gen {
			g.revive(m.c)
		}
	case overdue:
		if m.c.gen == m.gen {
			g.abandon(m.c, "it did not stop in time")
		}
	case changed:
		g.changed(m.c)
	case escalated:
		g.escalated(m)
	case actors.Steer:
		g.steer(m)
	case switched:
		g.switched(m)
	case summed:
		g.sum()
	case powerDue:
		g.step(m.owner, power.Ticked)
	case attest:
		m.to <- g.attest()
	case change:
		g.change(m)
	case parsed:
		g.parsed(m)
	case acked:
		g.acked(m)
	case judgeConfig:
		g.judgeConfig(m)
	}
}

// lastStand turns a panic of the root itself into the last rung: there is
// nobody above to judge it.
func (g *group) lastStand() {
	if p := recover(); p != nil {
		g.t.opts.Starve(Root, fmt.Sprintf("panic in the root: %v", p))
	}
}

func (g *group) begin() {
	g.cell.Begin()
	g.cell.SetHealth(actors.Starting, "")
	g.cell.SetSupervisor(g.steering())
	g.configure(g.cell.Config())
	for _, n := range g.node.Children {
		g.adopt(n)
	}
	g.startAll()
	g.armTick()
}

// steering is the way for Steer to this group, or to the one above for a group
// that is to be restarted.
func (g *group) steering() func(actors.Steer) {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return func(s actors.Steer) { root.Send(self, s) }
}

// configure takes the settings over.
func (g *group) configure(settings any) {
	c, ok := settings.(*gatewayv1.Group)
	if root, isRoot := settings.(*gatewayv1.Gateway); isRoot {
		c, ok = rootSettings(root), true
	}
	if !ok {
		return
	}
	l, err := ladder.Parse(c.Ladder)
	if err != nil { // the config check lets no such ladder through
		l = ladder.Ladder{End: ladder.Escalate}
	}
	l.Backoff, l.MaxBackoff, l.Quarantine = c.Backoff.AsDuration(), c.MaxBackoff.AsDuration(), c.Quarantine.AsDuration()
	g.ladder, g.actors = l, l
	if g.path == Root { // its own ladder is about groups that have given up
		g.actors = defaultLadder()
	}
	g.probe, g.stop, g.silence = c.Probe.AsDuration(), c.Stop.AsDuration(), c.Silence.AsDuration()
	g.power = c.Power
}

// defaultLadder is the one of a group whose config says nothing.
func defaultLadder() ladder.Ladder {
	c := &gatewayv1.Group{}
	schemas.Defaults(c)
	l, err := ladder.Parse(c.Ladder)
	if err != nil {
		panic(err) // a constant of the schema; every test meets it
	}
	l.Backoff, l.MaxBackoff, l.Quarantine = c.Backoff.AsDuration(), c.MaxBackoff.AsDuration(), time.Minute
	return l
}

// adopt makes a child of n, not started yet.
func (g *group) adopt(n *config.Node) *child {
	c := &child{node: n, path: n.Path}
	cell, err := g.t.cell(n.Path, n)
	if err != nil {
		panic(err) // only one group holds a path
	}
	cell.SetConfig(n.Config)
	c.cell = cell
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	cell.OnHealth = func(*actors.Cell, string, string) { root.Send(self, changed{c}) }
	if n.Kind != "" {
		cell.SetSupervisor(g.steering())
	}
	g.children = append(g.children, c)
	return c
}

func (g *group) startAll() {
	g.phase = running
	for _, c := range g.children {
		if c.pid != nil {
			continue
		}
		if g.t.opts.SafeMode && c.node.Kind == "" {
			c.cell.SetHealth(actors.Gone, "safe mode: the gateway kept failing")
			continue
		}
		g.spawn(c)
	}
}

// spawn gives a child that is not there a first life, or a new place to live.
func (g *group) spawn(c *child) {
	c.cell.Prepare()
	pid, err := g.pc.SpawnNamed(g.t.props(c.node, c.cell), g.t.sys.SpawnName(c.cell.Token()))
	if err != nil {
		panic(fmt.Errorf("start %s: %w", c.path, err)) // salted names do not collide
	}
	c.pid, c.crashed = pid, false
	g.byPID[pid.Id] = c
	c.cell.Bind(pid)
	g.enter(c, up)
}

// enter changes a child's state; timers set before are stale.
func (g *group) enter(c *child, s childState) {
	c.state = s
	c.gen++
	c.probed = 0
}

// after sends msg to this group later.
func (g *group) after(d time.Duration, msg any) *time.Timer {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return time.AfterFunc(d, func() { root.Send(self, msg) })
}

func (g *group) armTick() {
	g.tick = g.after(max(g.probe/2, 10*time.Millisecond), ticked{})
}
