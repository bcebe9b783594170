package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Request is something an actor must answer, once: a command that came through a door, or an Ask of
// another actor. An actor that answers later keeps the Request that Context.Take returns. Its
// methods are safe for concurrent use.
type Request struct {
	msg      any
	caller   Caller
	call     *incoming // the command; nil: an Ask
	from     *Cell     // the actor that asks on its own behalf; nil: see caller
	deadline time.Time // zero: none
	answer   func(msg any, err error)
	item     func(m proto.Message) error     // sends one answer of a stream; nil: the method does not stream
	ready    func(ctx context.Context) error // waits until the caller accepts another one
	canceled <-chan struct{}                 // closed when the caller has gone; nil: that is never known

	// For an Ask only.
	asker    *life
	peer     string        // path of the actor that was asked
	patience time.Duration // how long the asker waits
	part     *Request      // request the asker was serving when it asked; nil: none
	outcome  any           // the answer
	failure  error         // in place of the answer

	life     *life        // that serves the request; set in its mailbox before anything reads it
	refs     atomic.Int32 // pending results of Ask, Do and After, which may answer it
	taken    bool         // see Context.Take
	ownEvent atomic.Bool  // see OwnEvent

	mu   sync.Mutex
	done bool
}

func (r *Request) deliver(l *life) {
	if !r.deadline.IsZero() && time.Now().After(r.deadline) {
		r.finish(nil, bus.Errorf(bus.DeadlineExceeded, "%s handled it too late", l.cell.path))
		return
	}
	if r.call != nil {
		if err := l.cell.sys.calls.authorize(r.caller, r.call.topic, true); err != nil {
			r.finish(nil, err)
			return
		}
		if r.Canceled() {
			r.finish(nil, bus.Errorf(bus.Canceled, "the caller gave up before %s handled it", l.cell.path))
			return
		}
	}
	r.life = l
	l.mu.Lock()
	l.open.add(r)
	l.mu.Unlock()
	l.hand(r.msg, r)
}

// Message returns the request message.
func (r *Request) Message() any { return r.msg }

// Deadline returns when the caller stops waiting; ok is false if that is not known.
func (r *Request) Deadline() (t time.Time, ok bool) { return r.deadline, !r.deadline.IsZero() }

// Canceled reports whether nobody waits for the answer any more.
func (r *Request) Canceled() bool {
	select {
	case <-r.canceled:
		return true
	default:
		return !r.deadline.IsZero() && time.Now().After(r.deadline)
	}
}

// StillValid returns an error if work that has waited for its turn must not begin any more, because
// the caller has given up or has lost the permission meanwhile. It also checks the calls that r is
// part of. nil: the work may begin.
func (r *Request) StillValid() error {
	for ; r != nil; r = r.part {
		if r.call == nil {
			continue
		}
		if err := r.call.sys.calls.authorize(r.caller, r.call.topic, true); err != nil {
			return err
		}
		if r.Canceled() {
			return bus.Errorf(bus.Canceled, "the caller gave up while the request was waiting")
		}
	}
	return nil
}

// Reply answers with msg. Only the first answer counts.
func (r *Request) Reply(msg any) { r.finish(msg, nil) }

// Refuse answers with an error. The actor itself goes on.
func (r *Request) Refuse(err error) { r.finish(nil, err) }

// Send sends one answer of a streaming method. Reply(nil) or Refuse ends the stream.
func (r *Request) Send(m proto.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done || r.Canceled():
		return bus.Errorf(bus.Canceled, "the caller disconnected")
	case r.item == nil:
		return bus.Errorf(bus.Internal, "this method has one answer: use Reply")
	case r.life != nil && r.life.over():
		return bus.Errorf(bus.Aborted, "this life is over")
	}
	return r.item(m)
}

// finish answers the request unless it has been answered.
func (r *Request) finish(msg any, err error) {
	r.mu.Lock()
	if r.done {
		r.mu.Unlock()
		return
	}
	r.done = true
	r.mu.Unlock()
	if l := r.life; l != nil {
		l.mu.Lock()
		l.open.remove(r)
		l.mu.Unlock()
	}
	switch {
	case r.asker != nil:
		r.outcome, r.failure = msg, err
		r.asker.cell.post((*answered)(r))
	case r.call != nil:
		r.call.end(msg, err)
	case r.answer != nil:
		r.answer(msg, err)
	}
}

// OwnEvent declares that the actor itself publishes an event on the outcome of the request and its
// caller. An audit log that receives the event then need not record the call as well, see
// Outcome.OwnEvent. It is called before the answer. r may be nil.
func (r *Request) OwnEvent() {
	if r != nil {
		r.ownEvent.Store(true)
	}
}

func (r *Request) hold() *Request {
	if r != nil {
		r.refs.Add(1)
	}
	return r
}

func (r *Request) drop() {
	if r != nil {
		r.refs.Add(-1)
	}
}

// settle is called when a handler has returned. It answers a request that nothing is going to
// answer, so that no caller waits in vain.
func (r *Request) settle() {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if !done && (r.taken || r.refs.Load() > 0) {
		return
	}
	if !done {
		r.finish(nil, bus.Errorf(bus.Unimplemented, "%s does not answer %T", r.life.cell.path, r.msg))
	}
}

// NewRequest returns a request that comes from no actor; answer is called once, in any goroutine.
func NewRequest(msg any, answer func(msg any, err error)) *Request {
	return &Request{msg: msg, caller: Caller{Identity: bus.Local}, answer: answer}
}

// Ask sends msg to the actor called path, from code that is no actor; answer is called once, in any
// goroutine.
func (s *System) Ask(path string, msg any, answer func(msg any, err error)) {
	if err := s.send(path, NewRequest(msg, answer)); err != nil {
		answer(nil, err)
	}
}
