package bus_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/bus"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestDial(t *testing.T) {
	b, keys := listening(t, nil)
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		_ = m.Respond(wrapperspb.String(strings.SplitN(m.Reply, ".", 2)[0]))
	}); err != nil {
		t.Fatal(err)
	}
	url := "nats://" + b.Addr()
	dial := func(role string) *bus.Conn {
		c, err := bus.Dial(bus.Options{URL: url, NKeyFile: filepath.Join(keys, role+".nk"), Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	ops, obs := dial(bus.Operator), dial(bus.Observer)
	out := &wrapperspb.StringValue{}
	if err := ops.Call(within(t), "gw.demo.cmd.a.B", wrapperspb.Int64(1), out); err != nil || out.Value != "_R_" {
		t.Fatal(out, err)
	}
	begin := time.Now()
	if err := ops.Call(within(t), "gw.elsewhere.cmd.a.B", wrapperspb.Int64(1), out); code(err) != bus.Unavailable {
		t.Error("nobody there:", err)
	}
	if err := ops.Stream(within(t), "gw.elsewhere.cmd.a.B", wrapperspb.Int64(1), func(bus.Msg) error { return nil }); code(err) != bus.Unavailable {
		t.Error("nobody there:", err)
	}
	for what, err := range map[string]error{
		"call":      obs.Call(within(t), "gw.demo.cmd.a.B", wrapperspb.Int64(1), out),
		"stream":    obs.Stream(within(t), "gw.demo.cmd.a.B", wrapperspb.Int64(1), func(bus.Msg) error { return nil }),
		"subscribe": func() error { _, err := obs.Subscribe("gw.demo.cmd.>", func(bus.Msg) {}); return err }(),
	} {
		if code(err) != bus.PermissionDenied || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if time.Since(begin) >= patience { // the deadline of each of the five
		t.Error("a denied call waits for its deadline")
	}
	if err := b.Conn().Publish("gw.demo.state.a.health", wrapperspb.String("ok")); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Publish("gw.demo.event.a.healed", wrapperspb.String("ok")); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*bus.Conn{"observer": obs, "operator": ops} {
		var got []string
		err := c.Last(within(t), "gw.*.state.>", func(r bus.Record) error { got = append(got, r.Subject); return nil })
		if err != nil || len(got) != 1 {
			t.Error(name, got, err)
		}
		if ev, err := c.Events(within(t), "gw.*.event.>", 5); err != nil || len(ev) != 1 || ev[0].Subject != "gw.demo.event.a.healed" || ev[0].Time.IsZero() {
			t.Error(name, ev, err)
		}
	}
}

func TestStreamFromOutside(t *testing.T) {
	b, keys := listening(t, nil)
	gone := make(chan error, 1)
	subject := counting(t, b.Conn(), gone)
	c, err := bus.Dial(bus.Options{URL: "nats://" + b.Addr(), NKeyFile: filepath.Join(keys, "operator.nk")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n := 0
	if err := c.Stream(within(t), subject, wrapperspb.Int64(500), func(bus.Msg) error { n++; return nil }); err != nil || n != 500 {
		t.Fatal(n, err)
	}
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	err = c.Stream(ctx, subject, wrapperspb.Int64(0), func(bus.Msg) error { cancel(); return nil })
	if code(err) != bus.Canceled || code(receive(t, gone)) != bus.Canceled {
		t.Fatal(err)
	}
}

func TestDialErrors(t *testing.T) {
	b, keys := listening(t, nil)
	other := t.TempDir()
	start(t, func(c *bus.Config) { c.Listen, c.KeyDir = "127.0.0.1:0", other })
	for name, tc := range map[string]struct {
		o    bus.Options
		code string
		say  string
	}{
		"unreachable":    {bus.Options{URL: "nats://127.0.0.1:1"}, bus.Unavailable, "is gatewayd running"},
		"no credentials": {bus.Options{URL: "nats://" + b.Addr()}, bus.PermissionDenied, "give a key file"},
		"foreign key":    {bus.Options{URL: "nats://" + b.Addr(), NKeyFile: filepath.Join(other, "operator.nk")}, bus.PermissionDenied, "belong to this gateway"},
		"no key file":    {bus.Options{URL: "nats://" + b.Addr(), NKeyFile: filepath.Join(keys, "none.nk")}, "", "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bus.Dial(tc.o)
			if err == nil || code(err) != tc.code || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "\n") {
				t.Fatal(err)
			}
		})
	}
}

func TestCallEnds(t *testing.T) {
	c := start(t, nil).Conn()
	if _, err := c.Subscribe("gw.demo.cmd.>", func(bus.Msg) {}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := c.Call(ctx, "gw.demo.cmd.a.B", wrapperspb.Int64(1), nil); code(err) != bus.DeadlineExceeded {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	if err := c.Call(ctx, "gw.demo.cmd.a.B", wrapperspb.Int64(1), nil); code(err) != bus.Canceled {
		t.Fatal(err)
	}
}
