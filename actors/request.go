package actors

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Request is something an actor has been asked and shall answer once: a
// command from the bus or an Ask of a peer. Context.Take hands it to an actor
// that will answer later.
type Request struct {
	msg      any
	caller   Caller
	call     *incoming // that it is; nil: an Ask
	from     *Cell     // in place of caller: an actor that asks of its own accord
	deadline time.Time // zero: none
	answer   func(msg any, err error)
	item     func(m proto.Message) error     // sends one of several answers; nil if the method has one
	ready    func(ctx context.Context) error // waits until the caller takes one more of them
	canceled <-chan struct{}                 // the caller has gone; nil if unknown

	// Of an Ask: who asked, what his peer is called, how long he waits, what he serves
	// with it, and then what came of it.
	asker    *life
	peer     string
	patience time.Duration
	part     *Request
	outcome  any
	failure  error

	life  *life        // that serves it; set in its mailbox, before anybody can ask
	refs  atomic.Int32 // continuations that may still answer
	taken bool         // the actor will answer by itself
	told  atomic.Bool  // see Told

	mu   sync.Mutex
	done bool
}

func (r *Request) deliver(l *life) {
	if !r.deadline.IsZero() && time.Now().After(r.deadline) {
		r.finish(nil, bus.Errorf(bus.DeadlineExceeded, "%s came to it too late", l.cell.path))
		return
	}
	if r.call != nil {
		if err := l.cell.sys.calls.judge(r.caller, r.call.topic, true); err != nil {
			r.finish(nil, err)
			return
		}
		if r.Canceled() {
			r.finish(nil, bus.Errorf(bus.Canceled, "the caller gave up before %s came to it", l.cell.path))
			return
		}
	}
	r.life = l
	l.mu.Lock()
	l.open.add(r)
	l.mu.Unlock()
	l.hand(r.msg, r)
}

// Message is what was asked.
func (r *Request) Message() any { return r.msg }

// Deadline is when the caller stops waiting; ok is false if he did not say.
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

// Stands tells why what waits for its turn is not to be begun any more: the call that r is, or is part of, was given up, or its caller may no longer make it. nil: it may,
// or nobody from outside has asked for it. Any goroutine may ask.
func (r *Request) Stands() error {
	for ; r != nil; r = r.part {
		if r.call == nil {
			continue
		}
		if err := r.call.sys.calls.judge(r.caller, r.call.topic, true); err != nil {
			return err
		}
		if r.Canceled() {
			return bus.Errorf(bus.Canceled, "the caller gave up before its turn")
		}
	}
	return nil
}

// Reply answers with msg. Only the first answer counts.
func (r *Request) Reply(msg any) { r.finish(msg, nil) }

// Refuse answers with an error: the caller is wrong or has no luck, the actor is fine.
func (r *Request) Refuse(err error) { r.finish(nil, err) }

// Send sends one of several answers of a streaming method.
func (r *Request) Send(m proto.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.done || r.Canceled():
		return bus.Errorf(bus.Canceled, "the caller has gone")
	case r.item == nil:
		return bus.Errorf(bus.Internal, "this method has one answer: use Reply")
	case r.life != nil && r.life.over():
		return bus.Errorf(bus.Aborted, "this life is over")
	}
	return r.item(m)
}

// finish answers once.
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

// Told says that an event of its own tells what has become of the request, and who has made it; who hears of calls is told
// so. It is said before the answer. A nil Request is nobody's.
func (r *Request) Told() {
	if r != nil {
		r.told.Store(true)
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

// settle is called when a handler has returned: a request that nobody is going
// to answer is answered here, so that no caller waits in vain.
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

// NewRequest makes a request from outside any actor; answer is called once.
func NewRequest(msg any, answer func(msg any, err error)) *Request {
	return &Request{msg: msg, caller: Caller{Identity: bus.Local}, answer: answer}
}

// Ask sends msg to the actor called path from outside any actor; answer is
// called once, in whatever goroutine.
func (s *System) Ask(path string, msg any, answer func(msg any, err error)) {
	if err := s.send(path, NewRequest(msg, answer)); err != nil {
		answer(nil, err)
	}
}
