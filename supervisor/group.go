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
	cycles   map[*child]*cycle // by owner of the power; nil: none yet

	phase   phase
	ending  bool // it is stopping for good
	turn    *turn
	looked  time.Duration // when it last checked its children
	summing bool

	applying *applying   // root only: the config change in progress
	trials   []*applying // root only: changes on probation, oldest first
	told     spent       // use of the log limit of the group
	untold   int         // log lines suppressed by it
	owed     []byte      // root only: contents of the config file that could not be overwritten; nil: the file is up to date
	fresh    bool        // root only: the config that this life started with is still on probation
}

type phase uint8

const (
	running  phase = iota
	draining       // all children are being stopped, in reverse order
	gaveUp         // the group above has been told and will decide
)

// Messages a group sends to itself or receives from other groups.
type (
	drain  struct{} // stop the children in order, then the group
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

// lifeline lets others stop a running group: once it is cut, the group must not do anything any
// more, not even finish what it is doing.
type lifeline struct {
	ctx    context.Context // of its power functions
	cancel context.CancelFunc
	left   atomic.Bool // the group hung and was abandoned
}

func (l *lifeline) cut() {
	l.left.Store(true)
	l.cancel()
}

// goOn is called after operations that may have taken so long that this group was abandoned
// meanwhile. In that case it panics to unwind them.
func (g *group) goOn() {
	if g.line.left.Load() {
		panic(errors.New("this group was abandoned"))
	}
}

// Receive implements actor.Actor.
func (g *group) Receive(pc actor.Context) {
	if g.path == Root {
		defer g.starveOnPanic()
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

// heed handles messages that the group has scheduled for itself, and events of its children.
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

// starveOnPanic handles a panic of the root itself, which has no supervisor: it stops petting the
// watchdog.
func (g *group) starveOnPanic() {
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
	// The config that the gateway starts with gets the same probation as any other, so that an
	// operator who finds it wrong can still change it.
	if g.path == Root {
		g.fresh = true
		g.t.sys.Settle(nil)
		g.after(g.t.budget(), settle{true})
	}
}

// end stops all timers and power functions of this life.
func (g *group) end() {
	g.phase = draining
	g.line.cancel()
	g.dropCycles()
	g.t.rounds.leave(g.turn)
	for _, c := range g.children {
		g.enter(c, c.state)
	}
}

// steering returns the function that sends a Steer to this group.
func (g *group) steering() func(actors.Steer) {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return func(s actors.Steer) { root.Send(self, s) }
}

// after sends msg to this group after d.
func (g *group) after(d time.Duration, msg any) *time.Timer {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	return time.AfterFunc(d, func() { root.Send(self, msg) })
}

// goRound makes the group check its children twice per probe timeout.
func (g *group) goRound() {
	every := max(g.probe/2, 10*time.Millisecond)
	if g.turn != nil && g.turn.every == every {
		return
	}
	g.t.rounds.leave(g.turn)
	g.turn = g.t.rounds.join(g.pc.Self(), every)
}

// aside runs fn, which may block, outside the mailbox; its result comes back as a message.
func (g *group) aside(fn func() any) {
	self, root := g.pc.Self(), g.t.sys.Runtime().Root
	go func() { root.Send(self, fn()) }()
}

// guarded calls fn and converts a panic into an error. A nil fn does nothing.
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
