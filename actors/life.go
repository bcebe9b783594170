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

// life is one incarnation of an actor. It connects an Actor to protoactor and to the bus. Fields
// and methods are used in its mailbox only, except where stated.
type life struct {
	cell   *Cell
	actor  Actor
	number uint32

	warning string // see Context.Warn

	ended  bool
	fenced atomic.Bool // any goroutine
	done   atomic.Bool // the last message has been handled; any goroutine

	asks  asks
	stops []func()
	pc    actor.Context // of its own mailbox

	asking     chan struct{} // one place for each Gate.Ask under way; nil: there is no Gate
	childProps *actor.Props  // Props of all children
	spawning   *Cell         // the child that is being spawned

	mu       sync.Mutex // guards the fields below, which workers, timers and fence use as well
	released bool
	work     bag[*worker]
	owned    bag[io.Closer]
	timers   bag[*Timer]
	open     bag[*Request]     // requests being served
	children map[string]*Child // by id of the PID
}

// mail is a message for a life.
type mail interface{ deliver(l *life) }

// Receive implements actor.Actor. Every lifecycle message runs under a recover, so that a panic of
// an actor reaches protoactor only as a Fault.
func (l *life) Receive(pc actor.Context) {
	switch m := pc.Message().(type) {
	case *actor.Started:
		l.pc = pc
		l.cell.Bind(pc.Self()) // the life may run before its supervisor has called Bind
		l.guard(nil, l.begin)
	case *actor.Restarting, *actor.Stopping:
		l.end("the actor was stopped")
	case *actor.Stopped:
		if here := l.cell.PID(); here != nil && here.Equal(pc.Self()) { // the actor may have a new mailbox already
			l.cell.queue.empty(true, l.cell.path, "it was stopped")
		}
		if l.cell.parent != nil {
			l.cell.Remove()
		}
	case mail:
		if !l.fenced.Load() { // messages for an abandoned life are no longer counted
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

// turnAway answers a request that has reached a life that is over.
func (l *life) turnAway(m mail) {
	if r, ok := m.(*Request); ok {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s is stopping", l.cell.path))
	}
}

func (l *life) begin() error {
	c := l.cell
	l.number = c.lives.Add(1)
	c.life.Store(l)
	// Children publish their health only once it is known, because thousands of clients come and
	// go.
	if c.parent == nil {
		c.SetHealth(Starting, "")
	}
	l.actor = c.kind.New(c.Config())
	if l.number > 1 { // no event for the first start, since thousands of actors may start at once
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

// receive calls the actor with msg.
func (l *life) receive(c *Context, msg any) (err error) {
	defer l.caught(&err)
	return l.actor.Receive(c, msg)
}

// caught turns a panic into an error. It must be deferred.
func (l *life) caught(err *error) {
	if p := recover(); p != nil {
		*err = newFault(l.cell.path, l.number, p)
	}
}

// guard runs fn and handles its error or panic.
func (l *life) guard(r *Request, fn func() error) {
	l.judge(r, func() (err error) {
		defer l.caught(&err)
		return fn()
	}())
}

// judge ends this life at once if err is not nil, so that nothing it owned outlives it. The fault
// goes up to the supervisor.
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

// end ends the life, once: it stops ticks, answers and deliveries, then sends Stopped, then closes
// whatever the life still owns and answers whoever still waits.
func (l *life) end(why string) {
	if l.ended {
		return
	}
	l.ended = true
	l.dismiss()
	l.unsubscribe()
	l.stopTimers()
	if l.actor != nil && !l.fenced.Load() {
		l.deliverStopped()
	}
	l.done.Store(true)
	l.release()
	l.unsubscribe() // subscriptions made while handling Stopped end here
	l.stopTimers()
	if l.asks.timer != nil {
		l.asks.timer.Stop()
	}
	l.failRequests(why)
	if l.cell.State() != Bad && !l.fenced.Load() && l.cell.parent == nil { // for a child, removing its health is the last publication
		l.cell.SetHealth(Gone, "")
	}
}

func (l *life) unsubscribe() {
	for _, stop := range l.stops {
		stop()
	}
	l.stops = nil
}

func (l *life) deliverStopped() {
	defer func() {
		if p := recover(); p != nil {
			l.cell.log().Warn("panic while stopping", "panic", fmt.Sprint(p))
		}
	}()
	if err := l.actor.Receive(&Context{l: l}, Stopped{}); err != nil {
		l.cell.log().Warn("stopping", "err", err)
	}
}

// failRequests answers all open requests with an error. Any goroutine may call it.
func (l *life) failRequests(why string) {
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for _, r := range open {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s: %s", l.cell.path, why))
	}
}

// release cancels the workers and closes what the life owns. Any goroutine may call it.
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

// own registers x to be closed when the life ends, or closes it at once if it has ended. Any
// goroutine may call it.
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

// fence silences the life, closes what it owns and answers its open requests. Any goroutine may
// call it.
func (l *life) fence() {
	l.fenced.Store(true)
	l.stopTimers()
	go l.release() // closing something that is stuck may get stuck as well
	l.orphan()
	l.failRequests("it hung and was abandoned")
}

// over reports whether the life may no longer act.
func (l *life) over() bool { return l.fenced.Load() }

// gone reports whether the life receives no more messages. Any goroutine may call it.
func (l *life) gone() bool { return l.over() || l.done.Load() }

type probe struct{}

func (probe) deliver(*life) {}

type reconfigure struct{ config proto.Message }

func (m reconfigure) deliver(l *life) { l.hand(Reconfigured{m.config}, nil) }

// later is a message of the life to itself: a result or a post.
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
