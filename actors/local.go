package actors

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/bus"
)

// callTimeout limits a call whose context has no deadline.
const callTimeout = 10 * time.Second

// local is a call with one answer that begins in this process, made by a door or by code of the
// gateway. It bypasses the bus, but goes through dispatch like all others.
type local struct {
	incoming
	req     proto.Message // the request,
	typ     string        // or the request in wire format
	payload []byte
	ctx     context.Context
	stop    func() bool
	said    atomic.Bool
	told    func(reply)
}

// reply is the outcome of a local call.
type reply struct {
	msg     any    // answer to a call with a message
	typ     string // answer to a call in wire format
	payload []byte
	err     error
}

// begin carries out the call. told is called once, in any goroutine: with the answer, or when ctx
// ends.
func (s *System) begin(ctx context.Context, topic string, c *local, told func(reply)) {
	c.ctx, c.told, c.origin = ctx, told, c
	c.deadline, _ = ctx.Deadline()
	c.stop = context.AfterFunc(ctx, func() { c.say(reply{err: gaveUp(ctx)}) })
	s.dispatch(topic, &c.incoming)
}

// wait carries out the call and waits for its answer. The work is done by the dispatcher: an HTTP
// server starts a new goroutine for each request, and its stack would have to grow each time.
func (s *System) wait(ctx context.Context, topic string, c *local) reply {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	done := make(chan reply, 1)
	s.dispatcher.Schedule(func() { s.begin(ctx, topic, c, func(r reply) { done <- r }) })
	return <-done
}

func (c *local) decode(into proto.Message) error {
	if c.req == nil {
		return bus.Unmarshal(c.typ, c.payload, into)
	}
	proto.Merge(into, c.req)
	return nil
}

func (c *local) open(protoreflect.MethodDescriptor) { c.request.canceled = c.ctx.Done() }

// answer is called where the actor answers. msg belongs to the actor again afterwards, so it is
// encoded here.
func (c *local) answer(msg any, err error) {
	c.stop()
	r := reply{msg: msg, err: err}
	if c.req == nil {
		r.typ, r.payload, r.err = encode(c.typ, msg, err)
	}
	c.say(r)
}

func (c *local) say(r reply) {
	if c.said.CompareAndSwap(false, true) {
		c.told(r)
	}
}

func gaveUp(ctx context.Context) *bus.Error {
	if ctx.Err() == context.DeadlineExceeded {
		return bus.Errorf(bus.DeadlineExceeded, bus.NoAnswer)
	}
	return bus.Errorf(bus.Canceled, "the caller gave up")
}

// Call sends a command to an actor of this process and waits for its one answer. A context without
// deadline gets 10 s.
func (s *System) Call(ctx context.Context, path, method string, req proto.Message) (any, error) {
	c := &local{req: req}
	c.caller = Caller{Identity: bus.Local}
	r := s.wait(ctx, string(bus.Cmd)+"/"+path+"/"+method, c)
	return r.msg, r.err
}
