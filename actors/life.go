package actors

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// life is one incarnation of an actor: it joins an Actor to protoactor below
// and the bus beside it. Except where said it is used in its mailbox only.
type life struct {
	cell   *Cell
	actor  Actor
	number uint32

	warning string // see Context.Warn

	ended  bool
	fenced atomic.Bool // any goroutine
	done   atomic.Bool // it has said its last word; any goroutine

	asks  asks
	stops []func()
	pc    actor.Context // of its own mailbox

	asking  chan struct{} // places of those who ask through a Gate, see Gate.Ask; nil: there is no Gate
	nursery *actor.Props  // of children
	unborn  *Cell         // the child that is being spawned

	mu       sync.Mutex // guards what others need: workers, timers and a fence
	released bool
	work     bag[*worker]
	owned    bag[io.Closer]
	timers   bag[*Timer]
	open     bag[*Request]     // being served
	children map[string]*Child // by id of the PID
}

// mail is a message on its way into a life.
type mail interface{ deliver(l *life) }

// Receive implements actor.Actor. Every lifecycle message passes a recover, so
// that no panic of an actor reaches protoactor but as a Fault.
func (l *life) Receive(pc actor.Context) {
	switch m := pc.Message().(type) {
	case *actor.Started:
		l.pc = pc
		l.cell.Bind(pc.Self()) // it may run before its supervisor can say so
		l.guard(nil, l.begin)
	case *actor.Restarting, *actor.Stopping:
		l.end("the actor was stopped")
	case *actor.Stopped:
		if here := l.cell.PID(); here != nil && here.Equal(pc.Self()) { // it may live elsewhere already
			l.cell.queue.empty(true, l.cell.path, "it was stopped")
		}
		if l.cell.parent != nil {
			l.cell.Remove()
		}
	case mail:
		if !l.fenced.Load() { // what was left behind counts no more
			l.cell.waiting.Add(-1)
		}
		if r, ok := m.(*Request); ok {
			l.cell.queue.leave(r)
		}
		if l.ended || l.fenced.Load() {
			l.turnAway(m)
			return
		}
		m.deliver(l)
		l.cell.served.Add(1)
	}
}

// turnAway answers what reached a life that is over.
func (l *life) turnAway(m mail) {
	if r, ok := m.(*Request); ok {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s is stopping", l.cell.path))
	}
}

func (l *life) begin() error {
	c := l.cell
	l.number = c.lives.Add(1)
	c.life.Store(l)
	if c.parent == nil { // thousands of clients come and go: a child says what it has to say once
		c.SetHealth(Starting, "")
	}
	l.actor = c.kind.New(c.Config())
	if l.number > 1 { // the first start of thousands is no news
		c.Event("started", &actorv1.Started{Life: l.number})
	}
	return l.actor.Receive(&Context{l: l}, Started{})
}

// hand gives msg to the actor as part of serving r, which may be nil.
func (l *life) hand(msg any, r *Request) {
	l.cell.handled.Add(1)
	l.judge(r, l.receive(&Context{l: l, req: r}, msg))
	if r != nil {
		r.settle()
	}
}

// receive has the actor handle msg.
func (l *life) receive(c *Context, msg any) (err error) {
	defer l.caught(&err)
	return l.actor.Receive(c, msg)
}

// caught makes a panic an error; it is deferred.
func (l *life) caught(err *error) {
	if p := recover(); p != nil {
		*err = newFault(l.cell.path, l.number, p)
	}
}

// guard runs fn and judges its error, or its panic.
func (l *life) guard(r *Request, fn func() error) {
	l.judge(r, func() (err error) {
		defer l.caught(&err)
		return fn()
	}())
}

// judge ends this life here and now if err says that it has failed, so that
// nothing it owned outlives it; the fault goes up to the supervisor.
func (l *life) judge(r *Request, err error) {
	if err == nil || l.fenced.Load() {
		return
	}
	f, ok := err.(*Fault)
	if !ok {
		f = newFault(l.cell.path, l.number, returned{err})
	}
	if r != nil {
		r.finish(nil, bus.Errorf(bus.Internal, "%s failed: %s", l.cell.path, f.Err))
	}
	l.cell.failed.Add(1)
	l.cell.SetHealth(Bad, f.Error())
	l.end("the actor failed: " + f.Error())
	panic(f)
}

// end is the last of a life, once: no more ticks, answers or deliveries, then
// Stopped, then whatever it still owned is closed and whoever still waits is told.
func (l *life) end(why string) {
	if l.ended {
		return
	}
	l.ended = true
	l.dismiss()
	l.unsubscribe()
	l.stopTimers()
	if l.actor != nil && !l.fenced.Load() {
		l.lastWord()
	}
	l.done.Store(true)
	l.release()
	l.unsubscribe() // what it began in Stopped ends here
	l.stopTimers()
	if l.asks.timer != nil {
		l.asks.timer.Stop()
	}
	l.disappoint(why)
	if l.cell.State() != Bad && !l.fenced.Load() && l.cell.parent == nil { // a child's last word is that there is none
		l.cell.SetHealth(Gone, "")
	}
}

func (l *life) unsubscribe() {
	for _, stop := range l.stops {
		stop()
	}
	l.stops = nil
}

func (l *life) lastWord() {
	defer func() {
		if p := recover(); p != nil {
			l.cell.log().Warn("panic while stopping", "panic", fmt.Sprint(p))
		}
	}()
	if err := l.actor.Receive(&Context{l: l}, Stopped{}); err != nil {
		l.cell.log().Warn("stopping", "err", err)
	}
}

// disappoint answers everybody who still waits. Any goroutine.
func (l *life) disappoint(why string) {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, r := range open {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s: %s", l.cell.path, why))
	}
}

// release cancels the workers and closes what the life owns. Any goroutine.
func (l *life) release() {
	l.mu.Lock()
	owned := l.owned
	l.owned, l.released = nil, true
	for _, w := range l.work {
		w.cancel(context.Canceled)
	}
	l.mu.Unlock()
	for _, x := range owned {
		_ = x.Close()
	}
}

// own makes x one of the things that are closed when the life ends; at once if
// it has ended. Any goroutine.
func (l *life) own(x io.Closer) {
	l.mu.Lock()
	over := l.released
	if !over {
		if !l.owned.has(x) {
			l.owned.add(x)
		}
	}
	l.mu.Unlock()
	if over {
		_ = x.Close()
	}
}

// fence makes the life mute, closes what it owns and tells who waits for it.
// Any goroutine.
func (l *life) fence() {
	l.fenced.Store(true)
	l.stopTimers()
	go l.release() // closing what is stuck may get stuck
	l.orphan()
	l.disappoint("it hung and was left behind")
}

// over is true when the life may no longer act.
func (l *life) over() bool { return l.fenced.Load() }

// gone is true when the life hears nothing any more. Any goroutine.
func (l *life) gone() bool { return l.over() || l.done.Load() }

type probe struct{}

func (probe) deliver(*life) {}

type reconfigure struct{ config proto.Message }

func (m reconfigure) deliver(l *life) { l.hand(Reconfigured{m.config}, nil) }

// later is a message the life sent itself: a result, a post.
type later struct {
	life *life
	msg  any
	req  *Request
}

func (m *later) deliver(l *life) {
	m.req.drop()
	if _, quiet := m.msg.(streamed); m.life == l && !quiet {
		l.hand(m.msg, m.req)
	}
}
