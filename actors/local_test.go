package actors_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

// seen is what one call leaves behind.
type seen struct {
	judged   chan bool // whether it had waited
	outcomes chan actors.Outcome
	served   chan *actors.Request
}

// doored is a rig with an actor that answers, one that judges calls and listens to outcomes, and
// the ways to call the first.
func doored(t *testing.T) (r *actorstest.Rig, s seen, doors map[string]func(ctx context.Context, w actors.Caller, typ, payload string) (string, error)) {
	t.Helper()
	r = actorstest.New(t)
	s = seen{make(chan bool, 64), make(chan actors.Outcome, 64), make(chan *actors.Request, 64)}
	r.Start("keeper", scripted(func(c *actors.Context, msg any) error {
		if _, ok := msg.(actors.Started); ok {
			c.Outcomes(func(o actors.Outcome) { s.outcomes <- o })
			c.SetAuthorizer(func(_ actors.Caller, topic string, waited bool) error {
				if topic != "cmd/"+path+"/Misbehave" {
					return errors.New("asked about " + topic)
				}
				s.judged <- waited
				return nil
			})
			c.OK()
		}
		return nil
	}), &structpb.Struct{})
	r.Start(path, answering(func(c *actors.Context, msg any) error {
		if m, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			s.served <- c.Request()
			if m.How == "hang" {
				c.Take()
				return nil
			}
			c.Reply(nil)
		}
		return nil
	}), &structpb.Struct{})
	type order struct {
		w            actors.Caller
		typ, payload string
		done         chan actors.Called
		cancel       chan func()
	}
	gates, orders := make(chan actors.Gate, 1), make(chan func(any) error, 1)
	r.Start("door", scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
			gates <- c.Gate()
			orders <- c.Post()
		case order:
			m.cancel <- c.As(m.w).Call("cmd/"+path+"/Misbehave", m.typ, []byte(m.payload), time.Minute, m.done)
		case actors.Called:
			m.Tag.(chan actors.Called) <- m
		}
		return nil
	}), &structpb.Struct{})
	gate, post := actorstest.Next(t, gates), actorstest.Next(t, orders)
	r.Until("somebody judges", func() bool { return r.System.Lookup("keeper").State() == actors.OK })
	return r, s, map[string]func(context.Context, actors.Caller, string, string) (string, error){
		"the bus": func(ctx context.Context, w actors.Caller, typ, payload string) (string, error) {
			_, p, err := r.Bus.CallRaw(bus.WithHeader(ctx, w.Header()), bus.Subject(r.System.Gateway, bus.Cmd, path, "Misbehave"), typ, []byte(payload))
			return string(p), err
		},
		"a gate": func(ctx context.Context, w actors.Caller, typ, payload string) (answer string, err error) {
			err = gate.Call(ctx, w, "cmd/"+path+"/Misbehave", "", typ, []byte(payload), func(a actors.Called) error { answer = string(a.Payload); return nil })
			return answer, err
		},
		"an actor": func(ctx context.Context, w actors.Caller, typ, payload string) (string, error) {
			o := order{w, typ, payload, make(chan actors.Called, 1), make(chan func(), 1)}
			if err := post(o); err != nil {
				return "", err
			}
			defer context.AfterFunc(ctx, <-o.cancel)()
			m := <-o.done
			return string(m.Payload), m.Err
		},
	}
}

// Whichever door a call comes through, it is judged when it arrives and again before it is served,
// has the caller's trace and deadline, and is reported once when it is over. Its errors have the
// same text.
func TestEveryDoorIsOne(t *testing.T) {
	_, s, doors := doored(t)
	w := actors.Caller{Identity: "user/anna", Trace: trace, Span: "00f067aa0ba902b7"}
	for name, call := range doors {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			for _, typ := range []string{bus.JSON, bus.Protobuf} {
				payload, want := `{"how":"leak"}`, "{}"
				if typ == bus.Protobuf {
					payload, want = "\n\x04leak", ""
				}
				answer, err := call(ctx, w, typ, payload)
				if err != nil || answer != want {
					t.Errorf("%s: answered %q, %v", typ, answer, err)
				}
				r := actorstest.Next(t, s.served)
				if at, ok := r.Deadline(); !ok || time.Until(at) > time.Minute {
					t.Errorf("deadline %v %v", at, ok)
				}
				if c := r.Caller(); c.Identity != w.Identity || c.Trace != trace || c.Span == w.Span {
					t.Errorf("served for %+v", c)
				}
				if before, after := actorstest.Next(t, s.judged), actorstest.Next(t, s.judged); before || !after {
					t.Error("judged at other moments")
				}
				if o := actorstest.Next(t, s.outcomes); o.Err != nil || o.Caller.Trace != trace || o.Path != path {
					t.Errorf("heard of %+v", o)
				}
			}
			_, err := call(ctx, w, bus.JSON, `{"how":`)
			if codeOf(err) != bus.InvalidArgument {
				t.Errorf("no JSON: %v", err)
			}
			<-s.judged
			if o := actorstest.Next(t, s.outcomes); codeOf(o.Err) != bus.InvalidArgument {
				t.Errorf("heard of %+v", o)
			}
			if len(s.judged)+len(s.outcomes)+len(s.served) > 0 {
				t.Error("more was said of these calls")
			}
		})
	}
}

// A caller that gives up is told so at once, and the actor that still works on the call can notice.
func TestWhoGivesUpIsTold(t *testing.T) {
	_, s, doors := doored(t)
	for _, name := range []string{"a gate", "an actor"} {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan error, 1)
		go func() {
			_, err := doors[name](ctx, actors.Caller{Identity: "user/anna"}, bus.JSON, `{"how":"hang"}`)
			answer <- err
		}()
		r := actorstest.Next(t, s.served)
		if r.Canceled() {
			t.Errorf("%s: canceled at once", name)
		}
		cancel()
		if err := actorstest.Next(t, answer); codeOf(err) != bus.Canceled {
			t.Errorf("%s: %v", name, err)
		}
		if !r.Canceled() {
			t.Errorf("%s: the actor does not know", name)
		}
		r.Reply(nil) // too late, and harmless
	}
}

// A waiting call whose caller gives up is not carried out, whether it has one answer or several.
// Later calls are.
func TestWhoGaveUpIsNotServed(t *testing.T) {
	for _, method := range []string{"Misbehave", "Count"} {
		t.Run(method, func(t *testing.T) {
			r := actorstest.New(t)
			gates, served, hold := make(chan actors.Gate, 1), make(chan any, 8), make(chan struct{})
			outcomes := make(chan actors.Outcome, 8)
			cell := r.Start(path, answering(func(c *actors.Context, msg any) error {
				switch msg.(type) {
				case actors.Started:
					gates <- c.Gate()
					c.Outcomes(func(o actors.Outcome) { outcomes <- o })
				case *erraticv1.MisbehaveRequest, *erraticv1.CountRequest:
					served <- msg
					<-hold
					c.Reply(nil)
				}
				return nil
			}), &structpb.Struct{})
			gate := actorstest.Next(t, gates)
			call := func(ctx context.Context, method string) <-chan error {
				over := make(chan error, 1)
				request := map[string]string{"Misbehave": `{"how":"leak"}`, "Count": `{"to":1}`}[method]
				go func() {
					over <- gate.Call(ctx, actors.Caller{Identity: "user/anna"}, "cmd/"+path+"/"+method, "", bus.JSON, []byte(request), func(actors.Called) error { return nil })
				}()
				return over
			}
			first := call(t.Context(), "Misbehave")
			actorstest.Next(t, served)
			ctx, cancel := context.WithCancel(t.Context())
			second := call(ctx, method)
			r.Until("it waits", func() bool { return cell.Counters().Waiting == 1 })
			cancel()
			if err := actorstest.Next(t, second); codeOf(err) != bus.Canceled {
				t.Errorf("who gave up: %v", err)
			}
			third := call(t.Context(), method)
			r.Until("another one waits", func() bool { return cell.Counters().Waiting == 2 })
			close(hold)
			for _, over := range []<-chan error{first, third} {
				if err := actorstest.Next(t, over); err != nil {
					t.Error(err)
				}
			}
			canceled := 0
			for range 3 {
				if o := actorstest.Next(t, outcomes); codeOf(o.Err) == bus.Canceled {
					canceled++
				}
			}
			if len(served) != 1 || canceled != 1 {
				t.Errorf("%d of those that waited were served, %d were canceled", len(served), canceled)
			}
		})
	}
}

// Many concurrent callers are answered one after the other, even while other messages fill the
// mailbox.
func TestCrowdAtAGate(t *testing.T) {
	r := actorstest.New(t)
	type knock struct{ n int }
	gates, hold := make(chan actors.Gate, 1), make(chan struct{})
	posts := make(chan func(any) error, 1)
	kind := scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
			gates <- c.Gate()
			posts <- c.Post()
		case string:
			<-hold
		case knock:
			c.Reply(m.n)
		}
		return nil
	})
	kind.Limit = 4
	r.Start(path, kind, &structpb.Struct{})
	gate, post := actorstest.Next(t, gates), actorstest.Next(t, posts)
	for range 100 { // until no more are admitted
		_ = post("flood")
	}
	if err := post("flood"); codeOf(err) != bus.ResourceExhausted {
		t.Fatalf("the mailbox is not full: %v", err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 500)
	for n := range cap(errs) {
		wg.Go(func() {
			got, err := gate.Ask(t.Context(), knock{n})
			if err == nil && got != n {
				err = fmt.Errorf("%d was answered with %v", n, got)
			}
			errs <- err
		})
	}
	r.Until("some wait", func() bool { return r.System.Lookup(path).Counters().Waiting > 50 })
	close(hold)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}
