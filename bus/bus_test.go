package bus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatewayd/bus"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func start(t testing.TB, change func(*bus.Config)) *bus.Bus {
	t.Helper()
	cfg := bus.Config{Gateway: "demo", Dir: t.TempDir() + "/jetstream", Log: quiet(t)}
	if change != nil {
		change(&cfg)
	}
	b, err := bus.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// patience only ends tests that hang.
const patience = time.Minute

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// sings returns why the canary fails repeatedly. A single failure is allowed, because the machine
// may stall.
func sings(t testing.TB, b *bus.Bus) error {
	t.Helper()
	for ctx := within(t); ; {
		if err := b.Canary(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}

func code(err error) string {
	var e *bus.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestPublishSubscribe(t *testing.T) {
	c := start(t, nil).Conn()
	got := make(chan bus.Msg, 1)
	stop, err := c.Subscribe("gw.*.data.>", func(m bus.Msg) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	subject := bus.Subject("demo", bus.Data, "field/line-1/meter-7", "registers")
	want, _ := structpb.NewStruct(map[string]any{"power": 42.5})
	if err := c.Publish(subject, want); err != nil {
		t.Fatal(err)
	}
	m := receive(t, got)
	have := &structpb.Struct{}
	if err := m.Decode(have); err != nil || !proto.Equal(have, want) || m.Subject != subject {
		t.Fatalf("%s %s: %v", m.Subject, m.Data, err)
	}
	stop()
	stop()
	if err := c.Publish(subject, want); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(within(t)); err != nil || len(got) != 0 {
		t.Fatalf("%d messages after stop, %v", len(got), err)
	}
}

func TestCall(t *testing.T) {
	c := start(t, nil).Conn()
	subject := bus.Subject("demo", bus.Cmd, "radio/wlan0", "Wait")
	_, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		in := &durationpb.Duration{}
		if err := m.Decode(in); err != nil {
			_ = m.Fail(err)
			return
		}
		if d, ok := m.Timeout(); !ok || d > patience {
			_ = m.Fail(bus.Errorf(bus.Internal, "timeout %v %v", d, ok))
			return
		}
		_ = m.Respond(wrapperspb.Int64(in.Seconds))
	})
	if err != nil {
		t.Fatal(err)
	}
	out := &wrapperspb.Int64Value{}
	if err := c.Call(within(t), subject, durationpb.New(5*time.Second), out); err != nil || out.Value != 5 {
		t.Fatal(out, err)
	}
	p, _ := proto.Marshal(durationpb.New(7 * time.Second))
	typ, answer, err := c.CallRaw(within(t), subject, bus.Protobuf, p)
	if err != nil || typ != bus.Protobuf || proto.Unmarshal(answer, out) != nil || out.Value != 7 {
		t.Fatal(typ, answer, err)
	}
	_, _, err = c.CallRaw(within(t), subject, bus.JSON, []byte(`"never"`))
	if code(err) != bus.InvalidArgument {
		t.Fatal(err)
	}
	err = c.Call(within(t), "gw.demo.other.x", durationpb.New(0), nil)
	if code(err) != bus.Unavailable {
		t.Fatal(err)
	}
}
