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

// Context is everything an actor can do. It is valid only inside the Receive it was
// given to; what outlasts that is a Timer, a Request or the function of Post.
//
//   - Who it is: Name, Gateway, Dir, Life, Log.
//   - What it publishes: Publish, Event, State, Trace and PublishTrace.
//   - How it is: OK, Degraded, Unreachable, Worked, Warn.
//   - Serving a request: Request, Reply, Refuse, Take, Stream.
//   - Asking others: Ask, Tell, Call, Subscribe, Last. On whose behalf: Caller, As, Apart.
//   - Time and blocking work: Every, After, Do.
//   - What it owns: Own, Close, Spawn. What it keeps: Note, Notebook, Keep, Archive.
//   - Foreign goroutines: Post, Gate.
type Context struct {
	l   *life
	req *Request // what is being served, if anything
	as  *Caller  // see As
}

// Name is the actor's path in the supervision tree, e.g. "field/rs485-1/meter-7".
func (c *Context) Name() string { return c.l.cell.path }

// Gateway is the name of the gateway, the second token of every subject.
func (c *Context) Gateway() string { return c.l.cell.sys.Gateway }

// Dir is the directory for files of this actor that outlive the process. It may not exist yet.
// Empty: the gateway runs without a data directory.
func (c *Context) Dir() string { return c.l.cell.dir() }

// Life is the number of this life of the actor, from 1. A later life has a larger number, which
// distinguishes it from what earlier ones have left behind.
func (c *Context) Life() uint32 { return c.l.number }

// Shed counts the messages for this actor that were refused because too many waited, in
// all its lives.
func (c *Context) Shed() uint64 { return c.l.cell.shed.Load() }

// Log is a logger that names the actor on every line.
func (c *Context) Log() *slog.Logger { return c.l.cell.log() }

// Publish sends m to the data subject <name>.<leaf>. It returns false if the bus did not accept it,
// for instance during a restart of the bus: an actor that publishes only changes must then publish
// again.
func (c *Context) Publish(leaf string, m proto.Message) bool { return c.send(bus.Data, leaf, m) }

// Event publishes that something has happened, on the event subject <name>.<leaf>. The bus keeps
// the last 10,000.
func (c *Context) Event(leaf string, m proto.Message) { c.send(bus.Event, leaf, m) }

// State publishes how something is now, on the state subject <name>.<leaf>. The bus keeps the last
// one for those who subscribe later.
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

// OK sets the health to "ok" and counts as proof of work (see Worked). Call it where the evidence
// arrives, e.g. with an answer of the device, never on a timer.
func (c *Context) OK() {
	c.Worked()
	c.say(OK, c.l.warning)
}

// Warn shows a warning beside the health "ok", from the next OK on until this life ends. Empty: none.
func (c *Context) Warn(why string) { c.l.warning = why }

// Worked is proof of work without a change of health, for an actor that works but is Degraded. If
// no actor in a critical group has given such proof within the group's silence time, the watchdog
// is no longer petted.
func (c *Context) Worked() {
	c.l.cell.worked.Store(int64(time.Since(c.l.cell.sys.epoch)) | 1)
}

// Missed counts a tick that the actor left out because the work of the last one was still under
// way.
func (c *Context) Missed() { c.l.cell.missed.Add(1) }

// Degraded sets the health to "degraded": the actor works, but not as it should. why is for
// operators.
func (c *Context) Degraded(why string) { c.say(Degraded, why) }

// Unreachable sets the health to "unreachable": what the actor stands for does not answer. It
// is no failure of the actor, and its supervisor does nothing. why is for operators.
func (c *Context) Unreachable(why string) { c.say(Unreachable, why) }

func (c *Context) say(state, why string) {
	if !c.l.over() {
		c.l.cell.SetHealth(state, why)
	}
}

// Reply answers the request being served; without one it does nothing. For a method with an
// empty answer msg may be nil.
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

// Take takes over the request being served, to answer it later in another Receive. If this life
// ends first, the caller gets an error. nil: no request is being served.
func (c *Context) Take() *Request {
	if c.req != nil {
		c.req.taken = true
	}
	return c.req
}

// Ask sends msg to the actor called peer. Its answer arrives in Receive as an ordinary message, or
// Failed if there is none within timeout. If a request is being served, the answer is still part of
// it: Reply and Refuse there reach the original caller.
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

// Tell sends msg to the actor called peer. There is no answer, and no error if it does not arrive.
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

// Post returns a function that hands a message to this actor's Receive. It is for code that runs
// goroutines of its own: any goroutine may call it, and it never blocks. It returns an error when
// too many messages are waiting already or this life is over.
func (c *Context) Post() func(msg any) error {
	l := c.l
	return func(msg any) error {
		if l.over() || l.done.Load() {
			return bus.Errorf(bus.Aborted, "this life of %s is over", l.cell.path)
		}
		return l.cell.admit(&later{life: l, msg: msg})
	}
}

// Own makes the life close x when it ends, after Stopped.
func (c *Context) Own(x io.Closer) { c.l.own(x) }

// Close closes x, which was given to Own, without waiting for it.
func (c *Context) Close(x io.Closer) {
	c.l.mu.Lock()
	c.l.owned.remove(x)
	c.l.mu.Unlock()
	go func() { _ = x.Close() }()
}
