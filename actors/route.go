package actors

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Steer is what a supervisor receives when somebody asks for something that only it can do to one
// of its children: UpdateConfig, Restart or Cycle.
type Steer struct {
	Path    string
	Request *Request
}

// SetSupervisor sets the function that handles Steer for this actor.
func (c *Cell) SetSupervisor(fn func(Steer)) { c.steer.Store(&fn) }

// route delivers a command from the bus to its actor.
func (s *System) route(m bus.Msg) {
	c := &overBus{m: m}
	c.origin, c.caller = c, m.Caller()
	if d, ok := m.Timeout(); ok {
		c.deadline = time.Now().Add(d)
	}
	topic, _ := bus.Topic(m.Subject)
	s.dispatch(topic, &c.incoming)
}

// overBus is a call that came over the bus.
type overBus struct {
	incoming
	m    bus.Msg
	said atomic.Bool // the answer was sent, if the method has one answer
	late *time.Timer // sends the error if there is no answer in time; nil: the caller has set no deadline
}

func (c *overBus) decode(into proto.Message) error { return c.m.Decode(into) }

func (c *overBus) open(md protoreflect.MethodDescriptor) {
	c.m = c.m.Traced(c.caller.Traceparent())
	if !md.IsStreamingServer() {
		if !c.deadline.IsZero() && c.m.Reply != "" {
			c.late = time.AfterFunc(time.Until(c.deadline), c.overdue)
		}
		return
	}
	c.request.item, c.request.ready, c.request.canceled = c.m.Send, c.m.Ready, c.m.Done()
}

// overdue tells a caller who may still wait that the deadline has passed.
func (c *overBus) overdue() {
	if c.said.CompareAndSwap(false, true) {
		_ = c.m.Fail(bus.Errorf(bus.DeadlineExceeded, bus.NoAnswer))
	}
}

func (c *overBus) answer(msg any, err error) {
	if c.late != nil {
		c.late.Stop()
	}
	if c.m.Reply == "" || !c.said.CompareAndSwap(false, true) {
		return
	}
	c.m = c.m.Traced(c.caller.Traceparent()) // open is not called for refused calls
	if err == nil && c.stream {
		_ = c.m.End(nil) // fails if the caller has gone or its deadline has passed
		return
	}
	typ, payload, err := encode(c.m.ContentType, msg, err)
	if err != nil {
		_ = c.m.Fail(err)
		return
	}
	_ = c.m.RespondRaw(typ, payload)
}

// encode returns the answer to a call in wire format, in the content type of the request.
func encode(typ string, msg any, err error) (string, []byte, error) {
	if err != nil {
		return "", nil, err
	}
	if msg == nil {
		msg = &emptypb.Empty{}
	}
	m, ok := msg.(proto.Message)
	if !ok {
		return "", nil, bus.Errorf(bus.Internal, "the method sent an unexpected answer of type %T", msg)
	}
	return bus.Answer(typ, m)
}

// incoming is one call on its way to an actor, whichever door it came through.
type incoming struct {
	sys          *System
	origin       origin
	topic        string // cmd/<path>/<Method>
	path, method string
	cell         *Cell // the called actor; nil until it is found
	stream       bool  // the method may have several answers
	caller       Caller
	parent       string // span id of the caller's span
	began        time.Time
	deadline     time.Time // zero: none
	request      Request
}

// origin is the source of a call.
type origin interface {
	decode(into proto.Message) error
	// open is called when the call is let in. It sets how a stream is answered and how to notice
	// that the caller has gone.
	open(md protoreflect.MethodDescriptor)
	answer(msg any, err error) // called once
}

// dispatch carries out a call. Each has one trace, one deadline, one judgement and one outcome.
func (s *System) dispatch(topic string, call *incoming) {
	call.sys, call.topic, call.began = s, topic, time.Now()
	call.parent = call.caller.Span
	call.caller = call.caller.Begin()
	if err := s.carry(call); err != nil {
		call.end(nil, err)
	}
}

// end is called once, with the outcome of the call. Listeners are informed before the caller gets
// the answer.
func (call *incoming) end(msg any, err error) {
	call.sys.over(call, err)
	call.origin.answer(msg, err)
}

func (s *System) carry(call *incoming) error {
	var err error
	if call.path, call.method, err = bus.ParseCommand(call.topic); err != nil {
		return bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	if err := s.calls.authorize(call.caller, call.topic, false); err != nil {
		return err
	}
	cell, m, ok := s.find(call.path, call.method)
	if !ok {
		return s.missing(cell, call.path, call.method)
	}
	call.cell, call.stream = cell, m.desc.IsStreamingServer()
	msg := m.in.New().Interface()
	if err := call.origin.decode(msg); err != nil {
		return err
	}
	schemas.Defaults(msg)
	if bad := schemas.Check(msg); len(bad) > 0 {
		return bus.Errorf(bus.InvalidArgument, "%s: %s", call.method, violations(bad)).With(details(bad)...)
	}
	r := &call.request
	r.call, r.msg, r.caller, r.deadline = call, msg, call.caller, call.deadline
	call.origin.open(m.desc)
	if m.desc.Parent() == actorService() {
		return cell.builtin(r)
	}
	return cell.admit(r)
}

// find returns the actor and the method for a call.
func (s *System) find(path, name string) (*Cell, method, bool) {
	cell := s.Lookup(path)
	if cell == nil {
		return nil, method{}, false
	}
	m, ok := cell.method(name)
	return cell, m, ok
}

// missing returns the error for a call to a missing actor or method. cell is nil if the actor is
// missing.
func (s *System) missing(cell *Cell, path, name string) error {
	if cell == nil {
		return s.unknown(path)
	}
	return bus.Errorf(bus.NotFound, "%s has no method %q%s; its methods are %s", path, name,
		schemas.DidYouMean(name, cell.Methods()), strings.Join(cell.Methods(), ", "))
}

// details returns the violations for programs.
func details(all []schemas.Violation) []proto.Message {
	out := make([]proto.Message, len(all))
	for i, v := range all {
		out[i] = &actorv1.Violation{Field: schemas.JSONPath(v.Field), Message: v.Message}
	}
	return out
}

func violations(all []schemas.Violation) string {
	var b strings.Builder
	for i, v := range all {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(schemas.JSONPath(v.Field) + ": " + v.Message)
	}
	return b.String()
}

func actorService() protoreflect.ServiceDescriptor {
	return actorv1.File_actor_v1_actor_proto.Services().Get(0)
}

var builtins = (&Kind{Services: []protoreflect.ServiceDescriptor{actorService()}}).methods()

func (c *Cell) method(name string) (m method, ok bool) {
	if m, ok = c.meth[name]; !ok {
		m, ok = builtins[name]
	}
	return m, ok
}

// Methods lists the names of all methods the actor answers, sorted.
func (c *Cell) Methods() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, set := range []map[string]method{c.meth, builtins} {
			for name := range maps.Keys(set) {
				if !yield(name) {
					return
				}
			}
		}
	})
}

// builtin answers ActorService. What is known without the actor is answered at once, even if the
// actor hangs; the rest goes through its supervisor.
func (c *Cell) builtin(r *Request) error {
	switch m := r.msg.(type) {
	case *actorv1.DescribeRequest:
		d := c.describe()
		if m.Schemas {
			if err := c.kind.explain(d); err != nil {
				return bus.Errorf(bus.Internal, "describe kind %s: %s", c.kind.Name, err)
			}
		}
		r.Reply(d)
	case *actorv1.GetConfigRequest:
		r.Reply(&actorv1.GetConfigResponse{Message: string(c.Config().ProtoReflect().Descriptor().FullName()), Config: c.configStruct()})
	default:
		return c.Steer(r)
	}
	return nil
}

// Steer passes r, a request for UpdateConfig, Restart or Cycle, to the actor's supervisor.
func (c *Cell) Steer(r *Request) error {
	steer := c.steer.Load()
	if steer == nil {
		return bus.Errorf(bus.FailedPrecondition, "%s has no supervisor", c.path)
	}
	(*steer)(Steer{c.path, r})
	return nil
}

// configStruct returns the config as written in the config file, without secrets.
func (c *Cell) configStruct() *structpb.Struct {
	public := proto.Clone(c.Config())
	schemas.Redact(public)
	return schemas.Spelled(public)
}

func (c *Cell) describe() *actorv1.DescribeResponse {
	d := &actorv1.DescribeResponse{Entry: c.kind.Entry(c.path), Health: c.Health(), Counters: c.Counters()}
	for _, name := range c.Methods() {
		m, _ := c.method(name)
		md := m.desc
		d.Methods = append(d.Methods, &actorv1.Method{
			Name: name, Service: string(md.Parent().FullName()), Request: string(md.Input().FullName()),
			Response: string(md.Output().FullName()), Stream: md.IsStreamingServer(), Doc: schemas.Doc(string(md.FullName())),
		})
	}
	return d
}

// Signature returns the names of the request and response messages of a method, and whether it
// streams. They are empty if the actor has no such method.
func (c *Cell) Signature(method string) (in, out string, stream bool) {
	m, ok := c.method(method)
	if !ok {
		return "", "", false
	}
	md := m.desc
	return string(md.Input().FullName()), string(md.Output().FullName()), md.IsStreamingServer()
}
