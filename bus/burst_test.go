package bus_test

import (
	"sync/atomic"
	"testing"

	"gatewayd/bus"
)

// A burst may cost a slow subscriber messages, which are counted. It must never cost the
// connection, which would lose the messages of all subscribers.
func TestBurst(t *testing.T) {
	c := start(t, nil).Conn()
	var got atomic.Uint64
	if _, err := c.Subscribe("gw.demo.data.>", func(bus.Msg) { got.Add(1) }); err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	if _, err := c.Subscribe("gw.demo.data.>", func(bus.Msg) { <-hold }); err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	big := make([]byte, 1000)
	for range n {
		if err := c.PublishRaw("gw.demo.data.a.x", "application/octet-stream", big); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	t.Logf("%+v, %d handled so far", s, got.Load())
	if s.Reconnects != 0 || s.Dropped == 0 || s.Slow == 0 {
		t.Errorf("%+v", s)
	}
	close(hold)
}
