package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"gatewayd/actors"
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
	line *lifeline

	words   []string      // the ladder as written
	ladder  ladder.Ladder // for children that are groups
	actors  ladder.Ladder // for children that are actors
	power   *gatewayv1.Power
	probe   time.Duration
	stop    time.Duration
	silence time.Duration

	children []*child          // in the order of the config
	cycles   map[*child]*cycle // by who owns the power; nil: there was none yet

	phase   phase
	ending  bool // it is to stop for good
	turn    *turn
	looked  time.Duration // when it last looked at its children
	summing bool

	applying *applying   // root only: the config change under way
	trials   []*applying // root only: changes that have to prove themselves, oldest first
	told     spent       // lines of the chronicle
	untold   int         // that were too many
	owed     []byte      // root only: what the config file holds because it could not be written; nil: it could
	fresh    bool        // root only: the config that this life started with has not had its time yet
}

type phase uint8

const (
	running  phase = iota
	draining       // all children are being stopped, in reverse order
	gaveUp         // the group above has been told and will decide
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
	escalated struct {
		who   *actor.PID
		cause string
	}
	switched struct {
		cy     *cycle
		way    way
		called bool // the kind's function was called, and has returned
		err    error
	}
	powerDue struct{ owner *child }
	summed   struct{}
)

func newGroup(t *Tree, n *config.Node, cell *actors.Cell) *group {
	g := &group{t: t, path: pathOf(n), node: n, cell: cell}
	g.rec, g.line = t.record(g.path), t.lifeline(g.path)
	return g
}

// lifeline is what others hold of a group that lives: cut, the group may not do
// anything any more, not even the rest of what it is at.
type lifeline struct {
	ctx    context.Context // of its power functions
	cancel context.CancelFunc
	left   atomic.Bool // it hung and was left behind
}

func (l *lifeline) cut() {
	l.left.Store(true)
	l.cancel()
}

// goOn is called after whatever may have taken so long that this group was left
// behind meanwhile: then it unwinds what it was at.
func (g *group) goOn() {
	if g.line.left.Load() {
		panic(errors.New("this group was left behind"))
	}
}

// Receive implements actor.Actor.
func (g *group) Receive(pc actor.Context) {
	if g.path == Root {
		defer g.lastStand()
	}
	if g.line.left.Load() {
		if _, stops := pc.Message().(*actor.Stopping); stops {
			g.end()
		}
		return
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
		g.end()
	case *actor.Stopped:
		g.cell.SetHealth(actors.Gone, "")
		if g.path == Root {
			close(g.t.done)
		}
	case *actor.Terminated:
		g.terminated(m.Who)
	case actors.Steer:
		g.steer(m, nil)
	case fetched:
		g.steer(m.Steer, m.load)
	case attest:
		m.to <- g.attest()
	default:
		g.heed(m)
		g.heedConfig(m)
	}
}

// heed takes what the group has told itself to do later.
func (g *group) heed(msg any) {
	switch m := msg.(type) {
	case drain:
		g.ending = true
		g.drain(func() { g.pc.Stop(g.pc.Self()) })
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
	case retold:
		m.c.told.late = false
		if !m.c.leaving {
			g.chronicle(m.c)
		}
	case summed:
		g.sum()
	case escalated:
		g.escalated(m)
	case switched:
		g.switched(m)
	case powerDue:
		if g.phase != draining {
			g.step(m.owner, power.Ticked)
		}
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
	g.looked = g.t.now()
	g.configure(g.cell.Config())
	g.goRound()
	if g.cell.Life() > 1 {
		g.t.sweep(g.path)
	}
	for _, n := range g.node.Children {
		g.adopt(n)
	}
	g.startAll()
	g.sumSoon()
	if g.path == Root { // a config that the gateway starts with has as long as any other: whoever finds it wrong may change it yet
		g.fresh = true
		g.t.sys.Settle(nil)
		g.after(g.t.budget(), settle{true})
	}
}

// end leaves no timer and no power function of this life behind.
func (g *group) end() {
	g.phase = draining
	g.line.cancel()
	g.dropCycles()
	g.t.rounds.leave(g.turn)
	for _, c := range g.children {
		g.enter(c, c.state)
	}
}

// steering is the way for Steer to this group.
func (g *group) steering() func(actors.Steer) {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return func(s actors.Steer) { root.Send(self, s) }
}

// after sends msg to this group later.
func (g *group) after(d time.Duration, msg any) *time.Timer {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return time.AfterFunc(d, func() { root.Send(self, msg) })
}

// goRound has the group look at its children twice in the time that they have to
// serve a probe.
func (g *group) goRound() {
	every := max(g.probe/2, 10*time.Millisecond)
	if g.turn != nil && g.turn.every == every {
		return
	}
	g.t.rounds.leave(g.turn)
	g.turn = g.t.rounds.join(g.pc.Self(), every)
}

// aside runs fn, which may block, outside the mailbox; what it returns comes
// back as a message.
func (g *group) aside(fn func() any) {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	go func() { root.Send(self, fn()) }()
}

// guarded makes an error of a panic of fn. A nil fn has nothing to do.
func guarded(ctx context.Context, fn func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if fn == nil {
		return nil
	}
	return fn(ctx)
}
