package bus_test

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/bus"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestRestart(t *testing.T) {
	b, keys := listening(t, nil)
	c := b.Conn()
	got := make(chan bus.Msg, 1024)
	if _, err := c.Subscribe("gw.demo.data.>", func(m bus.Msg) { got <- m }); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) { _ = m.Respond(wrapperspb.Int64(1)) }); err != nil {
		t.Fatal(err)
	}
	states := 0
	forget := b.OnRestart(func() {
		states++
		_ = c.Publish("gw.demo.state.a.health", wrapperspb.Int64(int64(states)))
	})
	outsider, _ := outside(t, b, keys, bus.Observer)
	sub, err := outsider.SubscribeSync("gw.*.data.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Publish("gw.demo.event.a.started", wrapperspb.Int64(1)); err != nil {
		t.Fatal(err)
	}
	// A publisher runs all the while; no call may hang or run into a timeout.
	stop := make(chan struct{})
	var worst atomic.Int64
	done := make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			begin := time.Now()
			if err := c.Publish("gw.demo.trace.a.x", wrapperspb.Int64(int64(n))); err != nil {
				t.Error(err)
			}
			worst.Store(max(worst.Load(), int64(time.Since(begin))))
			time.Sleep(100 * time.Microsecond)
		}
	}()
	for range 5 {
		begin := time.Now()
		if err := b.Restart(within(t)); err != nil {
			t.Fatal(err)
		}
		t.Log("restarted in", time.Since(begin))
		if err := sings(t, b); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	t.Log(<-done, "published meanwhile, the slowest in", time.Duration(worst.Load()))
	if time.Duration(worst.Load()) > patience/3 {
		t.Error("a publish was blocked by the restart")
	}
	if err := c.Publish("gw.demo.data.a.x", wrapperspb.Int64(5)); err != nil {
		t.Fatal(err)
	}
	receive(t, got)
	if err := c.Call(within(t), "gw.demo.cmd.a.B", wrapperspb.Int64(1), nil); err != nil {
		t.Fatal(err)
	}
	last := ""
	if err := c.Last(within(t), "gw.*.state.>", func(r bus.Record) error { last = string(r.Data); return nil }); err != nil || last != `"5"` {
		t.Fatal(last, err)
	}
	if ev, err := c.Events(within(t), "gw.*.event.>", 10); err != nil || len(ev) != 1 {
		t.Fatal(ev, err)
	}
	// The outside client reconnects by itself and receives again (it waits 2 s between attempts).
	limit := within(t)
	for heard := false; !heard; {
		_ = c.Publish("gw.demo.data.a.x", wrapperspb.Int64(6))
		_, err := sub.NextMsg(100 * time.Millisecond)
		heard = err == nil
		if limit.Err() != nil {
			t.Fatal("the client outside has not come back")
		}
	}
	forget()
	if err := b.Restart(within(t)); err != nil || states != 5 {
		t.Fatal(states, err)
	}
	b.Close()
	if err := b.Restart(within(t)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Fatal(err)
	}
	b.Close()
}

func TestConfigErrors(t *testing.T) {
	busy := start(t, func(c *bus.Config) { c.Listen = "127.0.0.1:0" })
	for name, tc := range map[string]struct {
		change func(*bus.Config)
		say    string
	}{
		"busy port":      {func(c *bus.Config) { c.Listen = busy.Addr() }, "listen " + busy.Addr()},
		"no gateway":     {func(c *bus.Config) { c.Gateway = "" }, "gateway id"},
		"bad gateway":    {func(c *bus.Config) { c.Gateway = "a.b" }, "a-b"},
		"bad role":       {func(c *bus.Config) { c.Anonymous = "root" }, "root"},
		"no port":        {func(c *bus.Config) { c.Listen = "localhost" }, "host:port"},
		"open to all":    {func(c *bus.Config) { c.Listen = "0.0.0.0:0" }, "insecure"},
		"implicitly all": {func(c *bus.Config) { c.Listen = ":0" }, "insecure"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := bus.Config{Gateway: "demo", Dir: t.TempDir() + "/js", Log: quiet(t)}
			tc.change(&cfg)
			b, err := bus.Start(cfg)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Fatal(err)
			}
		})
	}
}

func TestWithoutStore(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Dir = "" })
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	err := b.Conn().Last(within(t), "gw.>", func(bus.Record) error { return nil })
	if code(err) != bus.Unavailable {
		t.Fatal(err)
	}
	if _, err := b.KV(within(t), "x", 1); code(err) != bus.Unavailable {
		t.Fatal(err)
	}
}

func TestHeard(t *testing.T) {
	b, keys := listening(t, nil)
	const subject = "gw.demo.trace.field.line-1.frames"
	if b.HasSubscribers(subject) {
		t.Fatal("somebody listens already")
	}
	nc, _ := outside(t, b, keys, bus.Observer)
	sub, err := nc.SubscribeSync("gw.*.trace.field.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if !b.HasSubscribers(subject) || !b.Conn().HasSubscribers(subject) || b.HasSubscribers("gw.demo.trace.radio.frames") {
		t.Fatal("the observer is not noticed")
	}
	if err := sub.Unsubscribe(); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if b.HasSubscribers(subject) {
		t.Fatal("the observer has gone")
	}
}

// The port is taken while the server is down: the gateway runs without outside clients.
func TestRestartWithoutPort(t *testing.T) {
	b, _ := listening(t, nil)
	addr := b.Addr()
	var thief net.Listener
	grabbed := make(chan struct{})
	go func() {
		defer close(grabbed)
		for thief == nil {
			thief, _ = net.Listen("tcp", addr)
		}
	}()
	var err error
	for range 100 { // the server may be quicker than the thief for a while
		if err = b.Restart(within(t)); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), addr) || len(b.Report().Notes) == 0 {
		t.Fatal(err, b.Report())
	}
	<-grabbed
	if err := sings(t, b); err != nil {
		t.Fatal(err)
	}
	_ = thief.Close()
	if err := b.Restart(within(t)); err != nil || b.Addr() != addr {
		t.Fatal(err, b.Addr())
	}
}
