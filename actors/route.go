package actors

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Steer is what a supervisor receives when somebody asks for something that
// only it can do to one of its children: UpdateConfig, Restart or Cycle.
type Steer struct {
	Path    string
	Request *Request
}

// SetSupervisor says who answers Steer for this actor.
func (c *Cell) SetSupervisor(fn func(Steer)) { c.steer.Store(&fn) }

// route takes a command from the bus to its actor.
func (s *System) route(m bus.Msg) {
	addr, err := bus.ParseSubject(m.Subject)
	if err != nil {
		_ = m.Fail(bus.Errorf(bus.InvalidArgument, "%s", err))
		return
	}
	var deadline time.Time
	if d, ok := m.Timeout(); ok {
		deadline = time.Now().Add(d)
	}
	call := incoming{path: addr.Path, method: addr.Leaf, caller: m.Caller(), deadline: deadline, decode: m.Decode}
	call.begin = func(r *Request, md protoreflect.MethodDescriptor) {
		r.answer = func(msg any, err error) { respond(m, md, msg, err) }
		if md.IsStreamingServer() {
			r.item, r.canceled = m.Send, m.Done()
		}
	}
	if err := s.dispatch(call); err != nil {
		_ = m.Fail(err)
	}
}

func respond(m bus.Msg, md protoreflect.MethodDescriptor, msg any, err error) {
	if m.Reply == "" {
		return
	}
	answer, ok := msg.(proto.Message)
	switch {
	case err == nil && md.IsStreamingServer():
		err = m.End(nil)
	case err != nil:
		err = m.Fail(err)
	case ok:
		err = m.Respond(answer)
	case msg == nil:
		err = m.RespondRaw(bus.JSON, []byte("{}"))
	default:
		err = m.Fail(bus.Errorf(bus.Internal, "%s answered with a %T", md.FullName(), msg))
	}
	_ = err // the caller has gone, or will run into its own deadline
}

// Call sends a command to an actor of this process and waits for its one answer.
func (s *System) Call(ctx context.Context, path, methodName string, req proto.Message) (any, error) {
	type outcome struct {
		msg any
		err error
	}
	done := make(chan outcome, 1)
	call := incoming{path: path, method: methodName, caller: Caller{Identity: bus.Local}, decode: func(into proto.Message) error {
		proto.Merge(into, req)
		return nil
	}}
	call.deadline, _ = ctx.Deadline()
	call.begin = func(r *Request, _ protoreflect.MethodDescriptor) {
		r.answer = func(msg any, err error) { done <- outcome{msg, err} }
		r.canceled = ctx.Done()
	}
	if err := s.dispatch(call); err != nil {
		return nil, err
	}
	select {
	case o := <-done:
		return o.msg, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// incoming is one call on its way to an actor, whatever door it came through.
type incoming struct {
	path, method string
	caller       Caller
	parent       string // the span that it is part of
	began        time.Time
	deadline     time.Time
	decode       func(into proto.Message) error
	begin        func(r *Request, md protoreflect.MethodDescriptor)
}

// dispatch carries a call out: it has one trace, one deadline, one judgement and one outcome.
func (s *System) dispatch(call incoming) error {
	call.began = time.Now()
	call.parent = call.caller.Span
	call.caller = call.caller.Begin()
	err := s.carry(&call)
	if err != nil {
		s.over(&call, err)
	}
	return err
}

func (s *System) carry(call *incoming) error {
	topic := string(bus.Cmd) + "/" + call.path + "/" + call.method
	if err := s.calls.judge(call.caller, topic, false); err != nil {
		return err
	}
	cell := s.Lookup(call.path)
	if cell == nil {
		return s.unknown(call.path)
	}
	md, in, err := cell.method(call.method)
	if err != nil {
		return err
	}
	msg := in.New().Interface()
	if err := call.decode(msg); err != nil {
		return err
	}
	schemas.Defaults(msg)
	if bad := schemas.Check(msg); len(bad) > 0 {
		return bus.Errorf(bus.InvalidArgument, "%s: %s", call.method, violations(bad))
	}
	r := &Request{msg: msg, caller: call.caller, deadline: call.deadline, topic: topic}
	call.begin(r, md)
	answer := r.answer
	r.answer = func(msg any, err error) {
		answer(msg, err)
		s.over(call, err)
	}
	if md.Parent() == actorService() {
		err = cell.builtin(r)
	} else {
		err = cell.admit(r)
	}
	return err
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

func (c *Cell) method(name string) (protoreflect.MethodDescriptor, protoreflect.MessageType, error) {
	m, ok := c.meth[name]
	if !ok {
		m, ok = builtins[name]
	}
	if !ok {
		return nil, nil, bus.Errorf(bus.NotFound, "%s has no method %q%s; it answers %s", c.path, name,
			schemas.DidYouMean(name, c.Methods()), strings.Join(c.Methods(), ", "))
	}
	return m.desc, m.in, nil
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

// builtin answers ActorService: what is known without the actor at once, even
// if it hangs, and the rest through its supervisor.
func (c *Cell) builtin(r *Request) error {
	switch r.msg.(type) {
	case *actorv1.DescribeRequest:
		r.Reply(c.describe())
	case *actorv1.GetConfigRequest:
		r.Reply(&actorv1.GetConfigResponse{Message: string(c.Config().ProtoReflect().Descriptor().FullName()), Config: c.configStruct()})
	default:
		return c.Steer(r)
	}
	return nil
}

// Steer hands r, of UpdateConfig, Restart or Cycle, to the actor's supervisor.
func (c *Cell) Steer(r *Request) error {
	steer := c.steer.Load()
	if steer == nil {
		return bus.Errorf(bus.FailedPrecondition, "%s has no supervisor", c.path)
	}
	(*steer)(Steer{c.path, r})
	return nil
}

// configStruct is the config as the config file has it, without its secrets.
func (c *Cell) configStruct() *structpb.Struct {
	public := proto.Clone(c.Config())
	schemas.Redact(public)
	return schemas.Spelled(public)
}

func (c *Cell) describe() *actorv1.DescribeResponse {
	d := &actorv1.DescribeResponse{Entry: c.kind.Entry(c.path), Health: c.Health(), Counters: c.Counters()}
	for _, name := range c.Methods() {
		md, _, _ := c.method(name)
		d.Methods = append(d.Methods, &actorv1.Method{
			Name: name, Service: string(md.Parent().FullName()), Request: string(md.Input().FullName()),
			Response: string(md.Output().FullName()), Stream: md.IsStreamingServer(), Doc: schemas.Doc(string(md.FullName())),
		})
	}
	return d
}

// Signature names the messages of a method the actor answers, and says whether
// it streams.
func (c *Cell) Signature(method string) (in, out string, stream bool) {
	md, _, err := c.method(method)
	if err != nil {
		return "", "", false
	}
	return string(md.Input().FullName()), string(md.Output().FullName()), md.IsStreamingServer()
}
