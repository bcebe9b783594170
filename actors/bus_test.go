package actors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

// These tests use a real bus and real time.

// serving is scripted with ErraticService: Misbehave has one answer, Count many.
func serving(f script) actors.Kind {
	return actors.Define(actors.Kind{
		Name: "scripted", Doc: "does as told",
		Services:  []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
		Publishes: []actors.Leaf{{Class: bus.Data, Leaf: "ticks", Message: &erraticv1.Tick{}}},
	}, func(*erraticv1.Erratic) actors.Actor { return f })
}

func misbehave(r *actorstest.Rig, at, how string) error {
	_, err := actorstest.Call(r, at, "Misbehave", &erraticv1.MisbehaveRequest{How: how}, &erraticv1.MisbehaveResponse{})
	return err
}

func TestCommands(t *testing.T) {
	r := actorstest.New(t)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		if m, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			switch m.How {
			case "error":
				c.Refuse(actors.Errorf(actors.NotFound, "unit 7"))
			case "wedged":
				c.Reply(result{1}) // not a proto.Message: a mistake of the actor
			case "panic":
				panic("oops")
			case "slow":
				c.Reply(nil)
			default:
				c.Reply(&erraticv1.MisbehaveResponse{})
			}
		}
		return nil
	}), &erraticv1.Erratic{})
	for _, tt := range []struct{ path, method, payload, code, says string }{
		{path, "Misbehave", `{"how":"leak"}`, "", ""},
		{path, "Misbehave", `{"how":"slow"}`, "", ""},
		{path, "Misbehave", `{"how":"error"}`, bus.NotFound, "unit 7"},
		{path, "Misbehave", `{"how":"wedged"}`, bus.Internal, "the method sent an unexpected answer of type actors_test.result"},
		{path, "Misbehave", `{"how":"panic"}`, bus.Internal, "panic: oops"},
		{path, "Misbehave", `{"how":"tango"}`, bus.InvalidArgument, "how"},
		{path, "Misbehave", `{}`, bus.InvalidArgument, "how"},
		{path, "Misbehave", `{"hou":"leak"}`, bus.InvalidArgument, "hou"},
		{path, "Misbehavee", `{}`, bus.NotFound, "Misbehave"},
		{"field/lime", "Misbehave", `{"how":"leak"}`, bus.NotFound, `did you mean "field/line"?`},
		{path, "Restart", `{}`, bus.FailedPrecondition, "no supervisor"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), actorstest.Patience)
		_, _, err := r.Bus.CallRaw(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, tt.path, tt.method), bus.JSON, []byte(tt.payload))
		cancel()
		switch {
		case tt.code == "" && err != nil:
			t.Errorf("%s %s: %v", tt.method, tt.payload, err)
		case tt.code != "" && (err == nil || bus.AsError(err).Code != tt.code || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s.%s %s: %v, want %s: %s", tt.path, tt.method, tt.payload, err, tt.code, tt.says)
		}
	}
}

// Describe and GetConfig are answered while the actor hangs.
func TestDescribeWhileItHangs(t *testing.T) {
	r := actorstest.New(t)
	entered, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		if _, ok := msg.(actors.Started); ok {
			close(entered)
			<-release
		}
		return nil
	}), &erraticv1.Erratic{How: "leak"})
	<-entered
	d, err := actorstest.Call(r, path, "Describe", &actorv1.DescribeRequest{}, &actorv1.DescribeResponse{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Entry.Kind != "scripted" || d.Health.State != actors.Starting || len(d.Entry.Publishes) != 1 ||
		!slices.Equal(d.Entry.Services, []string{"actor.v1.ActorService", "erratic.v1.ErraticService"}) {
		t.Errorf("described as %v", d)
	}
	var names []string
	for _, m := range d.Methods {
		names = append(names, m.Name)
		if m.Stream != (m.Name == "Count") || m.Doc == "" || m.Request == "" {
			t.Errorf("method %v", m)
		}
	}
	if want := []string{"Count", "Cycle", "Describe", "GetConfig", "Misbehave", "Restart", "UpdateConfig"}; !slices.Equal(names, want) {
		t.Errorf("methods %v, want %v", names, want)
	}
	cfg, err := actorstest.Call(r, path, "GetConfig", &actorv1.GetConfigRequest{}, &actorv1.GetConfigResponse{})
	if err != nil || cfg.Message != "erratic.v1.Erratic" || cfg.Config.AsMap()["how"] != "leak" {
		t.Errorf("config %v, %v", cfg, err)
	}
}

func TestSteer(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, serving(func(*actors.Context, any) error { return nil }), &erraticv1.Erratic{})
	cell.SetSupervisor(func(s actors.Steer) {
		if _, ok := s.Request.Message().(*actorv1.RestartRequest); !ok || s.Path != path {
			s.Request.Refuse(errTest)
			return
		}
		s.Request.Reply(&actorv1.RestartResponse{})
	})
	if _, err := actorstest.Call(r, path, "Restart", &actorv1.RestartRequest{}, &actorv1.RestartResponse{}); err != nil {
		t.Error(err)
	}
	if _, err := actorstest.Call(r, path, "Cycle", &actorv1.CycleRequest{}, &actorv1.CycleResponse{}); err == nil {
		t.Error("the supervisor's refusal is lost")
	}
}

func TestStreams(t *testing.T) {
	r := actorstest.New(t)
	gone := make(chan error, 1)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case *erraticv1.CountRequest:
			switch m.To {
			case 1: // ends with a refusal
				_ = c.Request().Send(&erraticv1.CountResponse{Number: 1})
				c.Refuse(actors.Errorf(actors.Aborted, "one is enough"))
				return nil
			case 2: // fails during the stream
				_ = c.Request().Send(&erraticv1.CountResponse{Number: 1})
				return errTest
			case 3: // continues for as long as somebody listens
				c.Take()
				c.After(0, c.Request())
				return nil
			}
			for i := range m.To {
				if err := c.Request().Send(&erraticv1.CountResponse{Number: i + 1}); err != nil {
					return err
				}
			}
			c.Reply(nil)
		case *actors.Request:
			if err := m.Send(&erraticv1.CountResponse{Number: 1}); err != nil {
				m.Refuse(err)
				gone <- err
				return nil
			}
			c.After(time.Millisecond, m)
		case *erraticv1.MisbehaveRequest:
			c.Refuse(c.Request().Send(&erraticv1.CountResponse{}))
		}
		return nil
	}), &erraticv1.Erratic{})
	stream := func(to uint32, each func(n int) error) (n int, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), actorstest.Patience)
		defer cancel()
		err = r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Count"), &erraticv1.CountRequest{To: to}, func(bus.Msg) error {
			n++
			if each != nil {
				return each(n)
			}
			return nil
		})
		return n, err
	}
	if n, err := stream(1000, nil); n != 1000 || err != nil {
		t.Errorf("%d answers, %v", n, err)
	}
	if n, err := stream(1, nil); n != 1 || err == nil || bus.AsError(err).Code != bus.Aborted {
		t.Errorf("refused: %d answers, %v", n, err)
	}
	if n, err := stream(2, nil); n != 1 || err == nil || bus.AsError(err).Code != bus.Internal {
		t.Errorf("died: %d answers, %v", n, err)
	}
	enough := errors.New("enough")
	if n, err := stream(3, func(n int) error {
		if n == 5 {
			return enough
		}
		return nil
	}); n != 5 || !errors.Is(err, enough) {
		t.Errorf("cancelled: %d answers, %v", n, err)
	}
	if err := actorstest.Next(t, gone); bus.AsError(err).Code != bus.Canceled {
		t.Errorf("the actor is told %v", err)
	}
	if err := misbehave(r, path, "leak"); err == nil || !strings.Contains(err.Error(), "one answer") {
		t.Errorf("Send where there is one answer: %v", err)
	}
}

// A bridge receives what is published and what was stored, and makes calls by topic.
func TestBridge(t *testing.T) {
	r := actorstest.New(t)
	r.Start("field/plc", serving(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case *erraticv1.MisbehaveRequest:
			c.Reply(&erraticv1.MisbehaveResponse{})
		case *erraticv1.CountRequest:
			for i := range m.To {
				if err := c.Request().Send(&erraticv1.CountResponse{Number: i + 1}); err != nil {
					return err
				}
			}
			c.Reply(nil)
		}
		return nil
	}), &erraticv1.Erratic{})
	for i := range 500 { // more than fit into the mailbox
		if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.State, "field/m", fmt.Sprint("s", i)), structpb.NewNumberValue(1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Bus.Flush(t.Context()); err != nil { // waits until they are stored
		t.Fatal(err)
	}
	got := make(chan any, 10000)
	cell := r.Start(path, scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
			if err := c.Subscribe("no/such//filter#"); err == nil {
				t.Error("a bad filter is taken")
			}
			if err := c.Subscribe("data/#"); err != nil {
				return err
			}
			c.Last("state/field/m/#", tick{})
			c.Last("bad//filter#", do{"bad"})
		case do:
			c.Call(m.what, bus.JSON, []byte(`{"how":"leak"}`), time.Second, m.what)
		default:
			if _, ok := m.(actors.Stopped); !ok {
				got <- m
			}
		}
		return nil
	}), &structpb.Struct{})
	kept, ended, failed := 0, false, false
	for !ended || !failed {
		switch m := actorstest.Next(t, got).(type) {
		case actors.Delivery:
			if !m.Kept || !strings.HasPrefix(m.Topic, "state/field/m/s") || string(m.Payload) != "1" || m.ContentType != bus.JSON {
				t.Errorf("delivered %+v", m)
			}
			kept++
		case tick:
			ended = true
		case actors.Failed:
			failed = m.Of == do{"bad"}
		}
	}
	if kept != 500 || cell.Counters().Shed > 0 {
		t.Errorf("%d of 500 kept states, %d shed", kept, cell.Counters().Shed)
	}
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/m", "x"), bus.Protobuf, []byte("raw")); err != nil {
		t.Fatal(err)
	}
	if d, ok := actorstest.Next(t, got).(actors.Delivery); !ok || d.Kept || d.Topic != "data/field/m/x" || d.ContentType != bus.Protobuf || string(d.Payload) != "raw" {
		t.Errorf("delivered %+v", d)
	}
	for _, tt := range []struct{ topic, code string }{
		{"cmd/field/plc/Misbehave", ""},
		{"cmd/field/plk/Misbehave", bus.NotFound},
		{"cmd/field/+/Misbehave", bus.InvalidArgument},
		{"cmd/field/plc/Count", bus.InvalidArgument}, // its request has no such field
	} {
		r.System.Ask(path, do{tt.topic}, func(any, error) {})
		called, ok := actorstest.Next(t, got).(actors.Called)
		if !ok || called.Tag != tt.topic || called.More {
			t.Fatalf("%s: %+v", tt.topic, called)
		}
		if code := codeOf(called.Err); code != tt.code {
			t.Errorf("%s: %v, want %q", tt.topic, called.Err, tt.code)
		}
	}
}

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	code, _ := actors.Explain(err)
	return code
}

func TestSystemCall(t *testing.T) {
	r := actorstest.New(t)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		if m, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			if m.How == "hang" {
				c.Take()
				return nil
			}
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &erraticv1.Erratic{})
	resp, err := r.System.Call(t.Context(), path, "Misbehave", &erraticv1.MisbehaveRequest{How: "leak"})
	if m, ok := resp.(proto.Message); err != nil || !ok || !proto.Equal(m, &erraticv1.MisbehaveResponse{}) {
		t.Errorf("%v, %v", resp, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.System.Call(ctx, path, "Misbehave", &erraticv1.MisbehaveRequest{How: "hang"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if _, err := r.System.Call(t.Context(), path, "Misbehave", &erraticv1.MisbehaveRequest{}); codeOf(err) != bus.InvalidArgument {
		t.Errorf("%v", err)
	}
}

// A request that reaches the actor after its deadline is not carried out.
func TestTooLate(t *testing.T) {
	r := actorstest.New(t)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	done := make(chan string, 8)
	r.Start(path, serving(func(c *actors.Context, msg any) error {
		if m, ok := msg.(*erraticv1.MisbehaveRequest); ok {
			done <- m.How
			if m.How == "hang" {
				entered <- struct{}{}
				<-release
			}
			c.Reply(&erraticv1.MisbehaveResponse{})
		}
		return nil
	}), &erraticv1.Erratic{})
	hung := make(chan error, 1)
	go func() { hung <- misbehave(r, path, "hang") }()
	<-entered
	// On a busy machine the deadline may pass before the request arrives.
	r.Until("the request waits", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		err := r.Bus.Call(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Misbehave"), &erraticv1.MisbehaveRequest{How: "panic"}, nil)
		if codeOf(err) != bus.DeadlineExceeded {
			t.Errorf("%v", err)
		}
		return r.System.Lookup(path).Counters().Waiting > 0
	})
	time.Sleep(50 * time.Millisecond) // the deadline counts from the arrival
	close(release)
	if err := <-hung; err != nil {
		t.Error(err)
	}
	if err := misbehave(r, path, "leak"); err != nil {
		t.Error(err)
	}
	close(done)
	for how := range done {
		if how == "panic" {
			t.Error("what nobody waits for was carried out")
		}
	}
}
