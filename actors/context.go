package actors

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Context is what an actor can do. It is valid only inside the Receive it was
// given to; what must live longer is a Timer, a Request or a Post.
type Context struct {
	l   *life
	req *Request // what is being served, if anything
	as  *Caller  // see As
}

// Name is the actor's path in the supervision tree, e.g. "field/rs485-1/meter-7".
func (c *Context) Name() string { return c.l.cell.path }

// Gateway is the name of the gateway, the second token of every subject.
func (c *Context) Gateway() string { return c.l.cell.sys.Gateway }

// Dir is a directory for files of the actor that are to outlive the process; it need
// not exist yet. Empty: there is none, and nothing does.
func (c *Context) Dir() string { return c.l.cell.dir() }

// Life counts the lives of this actor; the first is 1. It fences: a newer life
// has a larger number.
func (c *Context) Life() uint32 { return c.l.number }

// Shed counts the messages for this actor that were too many and not let in, in
// all its lives.
func (c *Context) Shed() uint64 { return c.l.cell.shed.Load() }

// Log carries the actor's name on every line.
func (c *Context) Log() *slog.Logger { return c.l.cell.log() }

// Publish sends m to the data subject <name>.<leaf>. It says whether the bus took
// it, which one that restarts may not; who publishes changes only needs to know.
func (c *Context) Publish(leaf string, m proto.Message) bool { return c.send(bus.Data, leaf, m) }

// Event says that something has happened; kept in the event history.
func (c *Context) Event(leaf string, m proto.Message) { c.send(bus.Event, leaf, m) }

// State says the last word on something; late comers get it.
func (c *Context) State(leaf string, m proto.Message) { c.send(bus.State, leaf, m) }

func (c *Context) send(class bus.Class, leaf string, m proto.Message) bool {
	if c.l.over() {
		return false
	}
	err := c.l.cell.sys.Bus.Publish(c.l.cell.subject(class, leaf), m)
	if err != nil {
		c.Log().Debug("not published", "class", class, "leaf", leaf, "err", err)
	}
	return err == nil
}

// OK proves that the actor does its job; said where the proof arrives, never on
// a timer.
func (c *Context) OK() {
	c.Worked()
	c.say(OK, c.l.warning)
}

// Warn has a warning stand in the tree for as long as this life lasts, also while the actor is well.
func (c *Context) Warn(why string) { c.l.warning = why }

// Worked proves that the actor does its job, without a word on its health: what
// an actor that works but struggles says beside Degraded.
func (c *Context) Worked() {
	c.l.cell.worked.Store(int64(time.Since(c.l.cell.sys.epoch)) | 1)
}

// Missed counts a tick that the actor had to leave out because the work of the
// last one was still under way.
func (c *Context) Missed() { c.l.cell.missed.Add(1) }

// Degraded says the actor is struggling, and why, without failing.
func (c *Context) Degraded(why string) { c.say(Degraded, why) }

// Unreachable says that what the actor stands for does not answer, and why. It
// is no failure: nothing here is to be healed.
func (c *Context) Unreachable(why string) { c.say(Unreachable, why) }

func (c *Context) say(state, why string) {
	if !c.l.over() {
		c.l.cell.SetHealth(state, why)
	}
}

// Reply answers the request being served. For a method with an empty answer
// msg may be nil.
func (c *Context) Reply(msg any) {
	if c.req != nil && !c.l.over() {
		c.req.Reply(msg)
	}
}

// Refuse answers the request being served, if there is one, with an error. The
// actor itself is fine. An error of package bus keeps its code; any other is
// "failed_precondition".
func (c *Context) Refuse(err error) {
	if c.req != nil && !c.l.over() {
		var typed *bus.Error
		if !errors.As(err, &typed) && !errors.Is(err, context.DeadlineExceeded) {
			err = bus.Errorf(bus.FailedPrecondition, "%s", err)
		}
		c.req.Refuse(err)
	}
}

// Request is what is being served; nil for ticks, posts and deliveries.
func (c *Context) Request() *Request { return c.req }

// Take takes over the request being served: the actor will answer it later, in
// another Receive. If this life ends first, the caller is told.
func (c *Context) Take() *Request {
	if c.req != nil {
		c.req.taken = true
	}
	return c.req
}

// Ask sends msg to the actor called peer. Its answer arrives in Receive as an
// ordinary message; so does Failed if there is none within timeout. If a
// request is being served, the answer is still part of it: Reply and Refuse
// there reach whoever asked.
func (c *Context) Ask(peer string, msg any, timeout time.Duration) {
	l := c.l
	if l.over() {
		return
	}
	r := c.sign(&Request{msg: msg, deadline: time.Now().Add(timeout), asker: l, peer: peer, patience: timeout, part: c.req.hold()})
	l.wait(r)
	if err := l.cell.sys.send(peer, r); err != nil {
		r.Refuse(err)
	}
}

// Tell sends msg to the actor called peer and forgets it.
func (c *Context) Tell(peer string, msg any) {
	if !c.l.over() {
		_ = c.l.cell.sys.send(peer, c.sign(&Request{msg: msg}))
	}
}

func (s *System) send(path string, r *Request) error {
	cell := s.Lookup(path)
	if cell == nil {
		return s.unknown(path)
	}
	return cell.admit(r)
}

// Post is the way in for code that runs foreign goroutines: a function that
// any goroutine may call and that never blocks. It fails when too much waits
// already or when this life is over.
func (c *Context) Post() func(msg any) error {
	l := c.l
	return func(msg any) error {
		if l.over() || l.done.Load() {
			return bus.Errorf(bus.Aborted, "this life of %s is over", l.cell.path)
		}
		return l.cell.admit(&later{life: l, msg: msg})
	}
}

// Own closes x when this life ends.
func (c *Context) Own(x io.Closer) { c.l.own(x) }

// Close closes x, which the life owns, without waiting for it.
func (c *Context) Close(x io.Closer) {
	c.l.mu.Lock()
	c.l.owned.remove(x)
	c.l.mu.Unlock()
	go func() { _ = x.Close() }()
}
