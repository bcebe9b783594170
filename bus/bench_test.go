package bus_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"gatewayd/bus"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const benchSubject = "gw.demo.data.field.line-1.meter-7.registers"

var payload = []byte(`{"time":"2026-01-01T00:00:00Z","samples":[1,2,3,4,5,6,7,8]}`)

// bare is nats.go without this package: the same server options as far as they affect performance.
func bare(b *testing.B) *nats.Conn {
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, MaxPending: 4 << 20})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(5 * time.Second) {
		b.Fatal("not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { nc.Close(); s.Shutdown(); s.WaitForShutdown() })
	return nc
}

// window is how far the publisher may be ahead of the subscriber.
const window = 4096

func BenchmarkPublish(b *testing.B) {
	run := func(b *testing.B, send func() error, seen <-chan struct{}) {
		b.ReportAllocs()
		for i := range b.N {
			if i >= window {
				<-seen
			}
			if err := send(); err != nil {
				b.Fatal(err)
			}
		}
		for range min(b.N, window) {
			<-seen
		}
	}
	b.Run("bare", func(b *testing.B) {
		nc, seen := bare(b), make(chan struct{}, window)
		if _, err := nc.Subscribe("gw.*.data.>", func(*nats.Msg) { seen <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		run(b, func() error { return nc.Publish(benchSubject, payload) }, seen)
	})
	b.Run("bus", func(b *testing.B) {
		c, seen := start(b, nil).Conn(), make(chan struct{}, window)
		if _, err := c.Subscribe("gw.*.data.>", func(bus.Msg) { seen <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		run(b, func() error { return c.PublishRaw(benchSubject, bus.JSON, payload) }, seen)
	})
	b.Run("message", func(b *testing.B) {
		c, seen := start(b, nil).Conn(), make(chan struct{}, window)
		if _, err := c.Subscribe("gw.*.data.>", func(bus.Msg) { seen <- struct{}{} }); err != nil {
			b.Fatal(err)
		}
		m := wrapperspb.String(string(payload))
		b.ResetTimer()
		run(b, func() error { return c.Publish(benchSubject, m) }, seen)
	})
}

func BenchmarkCall(b *testing.B) {
	b.Run("bare", func(b *testing.B) {
		nc := bare(b)
		if _, err := nc.Subscribe("gw.demo.cmd.>", func(m *nats.Msg) { _ = m.Respond(payload) }); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for range b.N {
			if _, err := nc.Request("gw.demo.cmd.a.B", payload, time.Second); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bus", func(b *testing.B) {
		c := start(b, nil).Conn()
		if _, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) { _ = m.RespondRaw(bus.JSON, payload) }); err != nil {
			b.Fatal(err)
		}
		ctx := b.Context()
		b.ResetTimer()
		for range b.N {
			if _, _, err := c.CallRaw(ctx, "gw.demo.cmd.a.B", bus.JSON, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkState(b *testing.B) {
	c := start(b, nil).Conn()
	for range b.N {
		if err := c.PublishRaw("gw.demo.state.a.health", bus.JSON, payload); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkStart(b *testing.B) {
	for range b.N {
		start(b, nil).Close()
	}
}

// BenchmarkStateMemory measures the memory of a state: 10,000 actors must fit a small gateway.
func BenchmarkStateMemory(b *testing.B) {
	health, _ := structpb.NewStruct(map[string]any{"status": "ok", "since": "2026-01-01T00:00:00Z", "cause": "", "restarts": 0})
	const actors = 10_000
	for range b.N {
		c := start(b, nil).Conn()
		heap := func() uint64 {
			if err := c.Flush(within(b)); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		publish := func(path string) {
			if err := c.Publish(bus.Subject("demo", bus.State, path, "health"), health); err != nil {
				b.Fatal(err)
			}
		}
		publish("first")
		before := heap()
		for i := range actors {
			publish(fmt.Sprintf("field/line-%d/meter-%d", i/30, i))
		}
		b.ReportMetric(float64(heap()-before)/actors, "B/state")
	}
}
