package bus_test

import (
	"fmt"
	"sync"
	"testing"

	"gatewayd/bus"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestLast(t *testing.T) {
	c := start(t, nil).Conn()
	const actors = 3000 // more than the 1024 the server answers in one multi-last request
	for round := range 2 {
		for i := range actors {
			if err := c.Publish(bus.Subject("demo", bus.State, fmt.Sprintf("field/line/meter-%d", i), "health"), wrapperspb.Int64(int64(round))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]int{
		"gw.*.state.>": actors,
		"gw.demo.state.field.line.meter-7.health": 1,
		"gw.demo.state.field.line.*.health":       actors,
		"gw.demo.state.radio.>":                   0,
	} {
		n := 0
		err := c.Last(within(t), pattern, func(r bus.Record) error {
			n++
			if string(r.Data) != `"1"` || r.Header["Nats-Stream"] != nil || r.Seq == 0 {
				t.Fatalf("%+v", r)
			}
			return nil
		})
		if err != nil || n != want {
			t.Errorf("%s: %d of %d, %v", pattern, n, want, err)
		}
	}
}

// A subscriber that then asks for the last states gets all of them, also those that are just being
// stored.
func TestNoStateBetween(t *testing.T) {
	c := start(t, nil).Conn()
	for round := range 50 {
		for i := range 100 {
			if err := c.Publish(bus.Subject("demo", bus.State, fmt.Sprintf("r%d/a%d", round, i), "health"), wrapperspb.Int64(1)); err != nil {
				t.Fatal(err)
			}
		}
		var (
			mu  sync.Mutex
			all = map[string]bool{}
		)
		hear := func(subject string) { mu.Lock(); defer mu.Unlock(); all[subject] = true }
		pattern := fmt.Sprintf("gw.demo.state.r%d.>", round)
		stop, err := c.Subscribe(pattern, func(m bus.Msg) { hear(m.Subject) })
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Last(within(t), pattern, func(r bus.Record) error { hear(r.Subject); return nil }); err != nil {
			t.Fatal(err)
		}
		stop()
		if mu.Lock(); len(all) != 100 {
			t.Fatalf("round %d: %d of 100 states", round, len(all))
		}
		mu.Unlock()
	}
}

func TestEvents(t *testing.T) {
	c := start(t, func(c *bus.Config) { c.Events = 100 }).Conn()
	for i := range 250 {
		who := "a"
		if i == 160 {
			who = "rare"
		}
		if err := c.Publish(bus.Subject("demo", bus.Event, who, "healed"), wrapperspb.Int64(int64(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		pattern     string
		n, want     int
		first, last string
	}{
		{"gw.*.event.>", 5, 5, `"245"`, `"249"`},
		{"gw.*.event.>", 1000, 100, `"150"`, `"249"`},
		{"gw.demo.event.rare.>", 5, 1, `"160"`, `"160"`},
		{"gw.demo.event.none.>", 5, 0, "", ""},
		{"gw.*.event.>", 0, 0, "", ""},
	} {
		got, err := c.Events(within(t), tc.pattern, tc.n)
		if err != nil || len(got) != tc.want {
			t.Fatalf("%s %d: %d, %v", tc.pattern, tc.n, len(got), err)
		}
		if len(got) > 0 && (string(got[0].Data) != tc.first || string(got[len(got)-1].Data) != tc.last) {
			t.Errorf("%s %d: %s to %s", tc.pattern, tc.n, got[0].Data, got[len(got)-1].Data)
		}
	}
}

// Dropping the oldest events is not a loss, neither while running nor after a start.
func TestLimitIsNoLoss(t *testing.T) {
	dir := t.TempDir()
	change := func(c *bus.Config) { c.Dir, c.Events = dir, 100 }
	b := start(t, change)
	publishEvents(t, b, 0, 250)
	b.Close()
	for range 2 {
		b = start(t, change)
		if r := b.Report(); len(r.Losses) != 0 || len(events(t, b)) != 100 {
			t.Fatal(r, len(events(t, b)))
		}
		publishEvents(t, b, 250, 10)
		b.Close()
	}
}
