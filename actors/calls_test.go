package actors_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

// answering is a kind that answers Misbehave after calling f.
func answering(f script) actors.Kind {
	return actors.Define(actors.Kind{
		Name: "answering", Doc: "answers",
		Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return f })
}

// callAs calls Misbehave of an actor over the bus.
func callAs(r *actorstest.Rig, who, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ctx = bus.WithHeader(ctx, bus.Caller{Identity: who, Trace: trace, Span: "00f067aa0ba902b7"}.Header())
	_, _, err := r.Bus.CallRaw(ctx, bus.Subject(r.System.Gateway, bus.Cmd, path, "Misbehave"), bus.JSON, []byte(`{"how":"panic"}`))
	return err
}

// A judge is asked when a call arrives and again after it has waited, also between two lives of the
// actor that set it. Listeners get the outcome of every call.
func TestCallsAreJudgedAndHeard(t *testing.T) {
	r := actorstest.New(t)
	served, hold := make(chan actors.Caller, 8), make(chan struct{})
	heard := make(chan actors.Outcome, 16)
	revoked := make(chan bool, 1)
	keeper := r.Start("keeper", scripted(func(c *actors.Context, msg any) error {
		if _, ok := msg.(actors.Started); ok {
			c.Outcomes(func(o actors.Outcome) { heard <- o })
			c.SetAuthorizer(func(w actors.Caller, topic string, waited bool) error {
				if w.Identity == "user/eve" || waited && len(revoked) > 0 {
					return actors.Errorf(actors.PermissionDenied, "%s may not use %s", w.Identity, topic)
				}
				return nil
			})
			c.OK()
		}
		return nil
	}), &structpb.Struct{})
	r.Start(path, answering(func(c *actors.Context, msg any) error {
		switch msg.(type) {
		case actors.Started:
			c.OK()
		case *erraticv1.MisbehaveRequest:
			served <- c.Caller()
			<-hold
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &structpb.Struct{})
	r.Until("both run", func() bool { return keeper.State() == actors.OK && r.System.Lookup(path).State() == actors.OK })

	if err := callAs(r, "user/eve", path); err == nil || !strings.Contains(err.Error(), "user/eve may not use cmd/"+path+"/Misbehave") {
		t.Errorf("eve: %v", err)
	}
	if o := actorstest.Next(t, heard); o.Caller.Identity != "user/eve" || o.Err == nil || o.Path != path || o.Method != "Misbehave" {
		t.Errorf("heard %+v", o)
	}
	spans := actorstest.Watch(r, "trace/"+path+"/span", &actorv1.Span{})
	answers := make(chan error, 2)
	go func() { answers <- callAs(r, "user/anna", path) }()
	w := actorstest.Next(t, served)
	if w.Identity != "user/anna" || w.Trace != trace || w.Span == "" || w.Span == "00f067aa0ba902b7" {
		t.Errorf("the actor is called by %+v", w)
	}
	go func() { answers <- callAs(r, "user/anna", path) }() // waits for the first one
	r.Until("the second call waits", func() bool { return r.System.Lookup(path).Counters().Waiting > 0 })
	revoked <- true
	close(hold)
	failed := 0
	for range 2 {
		if err := actorstest.Next(t, answers); err != nil {
			failed++
		}
		o := actorstest.Next(t, heard)
		if o.Caller.Trace != trace || o.Took <= 0 {
			t.Errorf("heard %+v", o)
		}
	}
	if failed != 1 || len(served) != 0 {
		t.Errorf("%d calls failed and %d more were served: the one that waited is to be dropped", failed, len(served))
	}
	if s := actorstest.Next(t, spans); s.Trace != trace || s.Span != w.Span || s.Parent != "00f067aa0ba902b7" || s.Name != path+"/Misbehave" || s.Code != "" {
		t.Errorf("span %v", s)
	}
	r.Stop(keeper)
	<-revoked
	if err := callAs(r, "user/eve", path); err == nil {
		t.Error("between two lives nobody judges")
	}
	keeper.Remove()
	if err := callAs(r, "user/eve", path); err != nil {
		t.Errorf("who has left still judges: %v", err)
	}
	if len(heard) != 0 {
		t.Error("a life that is over hears")
	}
	called := r.System.Lookup(path).Called()
	if len(called) != 1 || called[0].Method != "Misbehave" || called[0].Calls != 5 || called[0].Errors != 3 || called[0].LastError == "" {
		t.Errorf("counted %+v", called)
	}
}

// Calls that an actor makes while it serves a call are in the same trace, below that call.
func TestTracesGoOn(t *testing.T) {
	r := actorstest.New(t)
	second := make(chan actors.Caller, 1)
	r.Start("b", answering(func(c *actors.Context, msg any) error {
		if _, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			second <- c.Caller()
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &structpb.Struct{})
	spans := actorstest.Watch(r, "trace/#", &actorv1.Span{})
	r.Start("a", answering(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case *erraticv1.MisbehaveRequest:
			c.Call("cmd/b/Misbehave", bus.JSON, []byte(`{"how":"panic"}`), time.Minute, nil)
		case actors.Called:
			if m.Err != nil {
				c.Refuse(m.Err)
				return nil
			}
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &structpb.Struct{})
	if err := callAs(r, "user/anna", "a"); err != nil {
		t.Fatal(err)
	}
	inner, outer := actorstest.Next(t, spans), actorstest.Next(t, spans)
	if w := actorstest.Next(t, second); w.Identity != "user/anna" || w.Trace != trace {
		t.Errorf("b is called by %+v", w)
	}
	if inner.Name != "b/Misbehave" || inner.Parent != outer.Span || inner.Trace != trace || outer.Trace != trace {
		t.Errorf("b: %v\na: %v", inner, outer)
	}
}

// A client of the bus gets the trace of its call, also when it is refused. A trace of its own is
// continued.
func TestAnswersCarryTheTrace(t *testing.T) {
	r := actorstest.NewOn(t, bus.Config{Listen: "127.0.0.1:0", Anonymous: bus.Operator})
	r.Start(path, answering(func(c *actors.Context, msg any) error {
		if _, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &structpb.Struct{})
	nc, err := nats.Connect(r.Listens)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, given := range []string{"", "00-" + trace + "-00f067aa0ba902b7-01"} {
		for _, body := range []string{`{"how":"panic"}`, `{"nonsense":1}`} {
			m := nats.NewMsg(bus.Subject(actorstest.Gateway, bus.Cmd, path, "Misbehave"))
			m.Data = []byte(body)
			if given != "" {
				m.Header.Set("traceparent", given)
			}
			answer, err := nc.RequestMsg(m, actorstest.Patience)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := actors.ParseParent(answer.Header.Get("traceparent")); got == "" || given != "" && got != trace {
				t.Errorf("asked with %q: %v", given, answer.Header)
			}
		}
	}
}

// A client of the bus that sets a deadline is told when it has passed, and gets nothing after that.
func TestClientsAreToldOfTheirDeadline(t *testing.T) {
	r := actorstest.NewOn(t, bus.Config{Listen: "127.0.0.1:0", Anonymous: bus.Operator})
	taken := make(chan *actors.Request, 1)
	r.Start(path, answering(func(c *actors.Context, msg any) error {
		if _, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			taken <- c.Take()
		}
		return nil
	}), &structpb.Struct{})
	nc, err := nats.Connect(r.Listens)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answers, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: bus.Subject(actorstest.Gateway, bus.Cmd, path, "Misbehave"), Reply: answers.Subject,
		Header: nats.Header{"Gw-Deadline": {"1000"}}, Data: []byte(`{"how":"hang"}`)}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	late := actorstest.Next(t, taken)
	answer, err := answers.NextMsg(actorstest.Patience)
	if err != nil || answer.Header.Get("Nats-Service-Error-Code") != bus.DeadlineExceeded {
		t.Fatal(answer, err)
	}
	late.Reply(&erraticv1.MisbehaveResponse{})
	again := nats.NewMsg(m.Subject)
	again.Data = []byte(`{"nonsense":1}`)
	if _, err := nc.RequestMsg(again, actorstest.Patience); err != nil { // goes the same way as the first call
		t.Fatal(err)
	}
	if n, _, _ := answers.Pending(); n > 0 {
		t.Errorf("%d more answers", n)
	}
}

// A call to an actor that hangs has an outcome too: at the latest when the actor is left behind, even
// if the caller has given up before.
func TestACallToAnActorThatHangsHasAnOutcome(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var heard []actors.Outcome
		var called []actors.Called
		hang := make(chan struct{})
		cell := r.Start(path, answering(func(_ *actors.Context, msg any) error {
			if _, ok := msg.(*erraticv1.MisbehaveRequest); ok {
				<-hang
			}
			return nil
		}), &structpb.Struct{})
		r.Start("uplink", scripted(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case actors.Started:
				c.Outcomes(func(o actors.Outcome) { heard = append(heard, o) })
				c.As(actors.Caller{Identity: "uplink/cloud"}).Call("cmd/"+path+"/Misbehave", bus.JSON, []byte(`{"how":"hang"}`), time.Second, nil)
			case actors.Called:
				called = append(called, m)
			}
			return nil
		}), &structpb.Struct{})
		pass(2 * time.Second)
		if order(); len(called) != 1 || bus.AsError(called[0].Err).Code != bus.DeadlineExceeded || len(heard) != 0 {
			t.Errorf("the caller is told %+v, heard %+v", called, heard)
		}
		cell.Close("it hung and was left behind")
		cell.Fence()
		close(hang)
		pass(0)
		if order(); len(called) != 1 || len(heard) != 1 || heard[0].Caller.Identity != "uplink/cloud" || bus.AsError(heard[0].Err).Code != bus.Unavailable {
			t.Errorf("the caller is told %+v, heard %+v", called, heard)
		}
	})
}
