package bus_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"

	"gatewayd/bus"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*pullConsumer).fetch.func1")) // ends within a second
}

func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	b, err := bus.Start(bus.Config{Gateway: "demo", Dir: t.TempDir() + "/js", KeyDir: t.TempDir(), Listen: "127.0.0.1:0", Log: quiet(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A server that stops while streams are being created leaves none of their stores open.
func TestStreamsThatAreBeingMade(t *testing.T) {
	before := goleak.IgnoreCurrent()
	for range 3 {
		b, err := bus.Start(bus.Config{Gateway: "demo", Dir: t.TempDir() + "/js", Log: quiet(t)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var making sync.WaitGroup
		for i := range 4 {
			making.Go(func() {
				for n := 0; ctx.Err() == nil && n < 6; n++ {
					_, _ = b.KV(ctx, fmt.Sprintf("b%d-%d", i, n), 1)
				}
			})
		}
		if err := b.Restart(within(t)); err != nil {
			t.Error(err)
		}
		b.Close()
		cancel()
		making.Wait()
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// A subscription costs only the goroutine of nats.go that calls its handler.
func TestGoroutines(t *testing.T) {
	c := start(t, nil).Conn()
	before := runtime.NumGoroutine()
	for range 100 {
		if _, err := c.Subscribe("gw.demo.data.>", func(bus.Msg) {}); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > 150 { // two each would be 200; the server's own come and go
		t.Errorf("%d goroutines for 100 subscriptions", n)
	}
}
