package actors

import (
	"context"
	"errors"
	"math"
	"sync"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Gate is for the goroutines of a server. Each of them serves a client, makes calls for it and
// blocks until they are answered. Its methods are safe for concurrent use. When the life that made
// it ends, they refuse new calls. Calls under way continue until their ctx ends, for which the
// server is responsible.
type Gate struct{ l *life }

// Gate returns the Gate of this life.
func (c *Context) Gate() Gate {
	if c.l.asking == nil {
		c.l.asking = make(chan struct{}, askers)
	}
	return Gate{c.l}
}

// askers is the number of Gate.Ask of one actor that may be under way.
const askers = 64

// Ask sends msg to the actor of the Gate itself, and waits for its answer or the end of ctx. At
// most 64 are under way; others wait for their turn. Those under way enter the mailbox however many
// messages are waiting there, so that a flood of other messages does not lock clients out.
func (g Gate) Ask(ctx context.Context, msg any) (any, error) {
	select {
	case g.l.asking <- struct{}{}:
		defer func() { <-g.l.asking }()
	case <-ctx.Done():
		return nil, bus.Errorf(bus.ResourceExhausted, "%s has too many concurrent callers", g.l.cell.path)
	}
	type outcome struct {
		msg any
		err error
	}
	done := make(chan outcome, 1)
	if err := g.open(); err != nil {
		return nil, err
	}
	if err := g.l.cell.letIn(NewRequest(msg, func(msg any, err error) { done <- outcome{msg, err} }), math.MaxInt32); err != nil {
		return nil, err
	}
	select {
	case o := <-done:
		return o.msg, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Call sends a command to a topic, cmd/<path>/<Method>, on behalf of w, calls each with every
// answer, and returns after the last. Stream and More of an answer are set if the method streams.
// If service is not empty, the method must belong to the service of that name.
func (g Gate) Call(ctx context.Context, w Caller, topic, service, contentType string, payload []byte, each func(Called) error) error {
	s := g.l.cell.sys
	if err := g.open(); err != nil {
		return err
	}
	if service != "" {
		if err := s.answers(topic, service); err != nil {
			return err
		}
	}
	if b, ok := s.Bus.(streamer); ok && s.streams(topic) {
		subject, err := bus.FromTopic(s.Gateway, topic)
		if err != nil {
			return bus.Errorf(bus.InvalidArgument, "%s", err)
		}
		err = b.StreamRaw(bus.WithCaller(ctx, w), subject, contentType, payload, func(m bus.Msg) error {
			return each(Called{ContentType: m.ContentType, Payload: m.Data, Stream: true, More: true})
		})
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // the end of ctx may have come from each as well
			return gaveUp(ctx)
		}
		return bare(err)
	}
	call := &local{typ: contentType, payload: payload}
	call.caller = w
	r := s.wait(ctx, topic, call)
	if r.err != nil {
		return r.err
	}
	return each(Called{ContentType: r.typ, Payload: r.payload})
}

// Begin is Call without waiting, for a method with one answer. told is called with the outcome,
// once, in any goroutine, and must not block. As soon as ctx ends the outcome is Canceled or
// DeadlineExceeded.
func (g Gate) Begin(ctx context.Context, w Caller, topic, contentType string, payload []byte, told func(Called)) {
	if err := g.open(); err != nil {
		told(Called{Err: err})
		return
	}
	g.l.cell.sys.beginAs(ctx, w, topic, contentType, payload, func(r reply) {
		told(Called{ContentType: r.typ, Payload: r.payload, Err: r.err})
	})
}

// CallAll makes the same call, of methods with one answer, to several topics at once. It waits
// until all have answered or ctx ends, and returns the outcomes in the order of topics.
func (g Gate) CallAll(ctx context.Context, w Caller, topics []string, contentType string, payload []byte) []Called {
	all, answers := make([]Called, len(topics)), sync.WaitGroup{}
	answers.Add(len(topics))
	for i, topic := range topics {
		g.Begin(ctx, w, topic, contentType, payload, func(r Called) {
			all[i] = r
			answers.Done()
		})
	}
	answers.Wait()
	return all
}

// Streams reports whether a command on a topic has several answers.
func (g Gate) Streams(topic string) bool { return g.l.cell.sys.streams(topic) }

// Subscribe calls say with each message on filter until ctx ends or say returns false. say is
// called in the goroutine of the subscription and must not block.
func (g Gate) Subscribe(ctx context.Context, filter string, say func(Delivery) bool) error {
	pattern, err := bus.Pattern(g.l.cell.sys.Gateway, filter)
	if err != nil {
		return bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	if err := g.open(); err != nil {
		return err
	}
	over := false // used by the goroutine of the subscription only
	stop, err := g.l.cell.sys.Bus.Subscribe(pattern, func(m bus.Msg) {
		if topic, ok := bus.Topic(m.Subject); ok && !over {
			over = !say(Delivery{Topic: topic, ContentType: m.ContentType, Payload: m.Data})
		}
	})
	if err == nil {
		context.AfterFunc(ctx, stop)
	}
	return err
}

// Last calls say with the stored state of each topic under filter until ctx ends or say returns an
// error. A state that is published meanwhile may be passed twice, the newer one later.
func (g Gate) Last(ctx context.Context, filter string, say func(Delivery) error) error {
	pattern, err := bus.Pattern(g.l.cell.sys.Gateway, filter)
	if err != nil {
		return bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	if err := g.open(); err != nil {
		return err
	}
	b, ok := g.l.cell.sys.Bus.(keeper)
	if !ok {
		return bus.Errorf(bus.Unimplemented, "this bus keeps no states")
	}
	return b.Last(ctx, pattern, func(r bus.Record) error {
		if topic, ok := bus.Topic(r.Subject); ok {
			return say(Delivery{Topic: topic, ContentType: r.ContentType, Payload: r.Data, Kept: true})
		}
		return nil
	})
}

// open returns an error if the life is over.
func (g Gate) open() error {
	if g.l.over() || g.l.done.Load() {
		return bus.Errorf(bus.Unavailable, "this life of %s is over", g.l.cell.path)
	}
	return nil
}

// answers returns an error if the method of topic exists and belongs to another service.
func (s *System) answers(topic, service string) error {
	path, name, err := bus.ParseCommand(topic)
	if err != nil {
		return bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	if _, m, ok := s.find(path, name); ok && string(m.desc.Parent().FullName()) != service {
		return bus.Errorf(bus.NotFound, "method %s of %s belongs to %s, not to %s", name, path, m.desc.Parent().FullName(), service)
	}
	return nil // a missing actor or method is reported by the call itself
}

// Operations returns the methods of all actors and groups of this process, sorted by path and name.
func (g Gate) Operations() []schemas.Operation {
	var all []schemas.Operation
	for _, path := range g.l.cell.sys.Paths() {
		if c := g.l.cell.sys.Lookup(path); c != nil {
			for _, name := range c.Methods() {
				if m, ok := c.method(name); ok {
					all = append(all, schemas.Operation{Path: path, Method: m.desc})
				}
			}
		}
	}
	return all
}

// Report is the health and the counters of one actor or group.
type Report struct {
	Path     string
	Health   *actorv1.Health
	Counters *actorv1.Counters
	Called   []MethodStats
	Healed   map[string]uint64 // number of actions of supervisors on it, by level
}

// Reports returns the reports on all actors and groups of this process, in no particular order.
func (g Gate) Reports() []Report {
	var all []Report
	for _, c := range g.l.cell.sys.Cells() {
		all = append(all, Report{c.Path(), c.Health(), c.Counters(), c.Called(), c.Healed()})
	}
	return all
}
