package supervisor_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

var (
	seeds = flag.Int("storm.seeds", 2000, "how many fault schedules to play")
	seed  = flag.Uint64("storm.seed", 0, "play only this one")
)

// TestStorms plays thousands of random fault schedules against a whole tree in
// virtual time. Whatever happens: nobody but the faulty misses a beat, faults
// that end are healed, a faulty field group never starves the watchdog, and the
// tree can be stopped.
func TestStorms(t *testing.T) {
	n := uint64(*seeds)
	if testing.Short() {
		n = 200
	}
	first := uint64(1)
	if *seed != 0 {
		first, n = *seed, 1
	}
	for s := first; s < first+n; s++ {
		ok := t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(s, 1))) })
		})
		if !ok {
			t.Fatalf("replay with: go test ./supervisor -run TestStorms -storm.seed=%d", s)
		}
	}
}

// faults one actor can have in a storm.
var faults = []string{"panic", "error", "wedged", "hang", "fail in started", "panic in stopped", "hang in stopped", "hang in started"}

func storm(t *testing.T, r *rand.Rand) {
	w := newWorld(t, map[string]*gatewayv1.Group{"field": {}, "field/line": {Ladder: []string{"restart 3 in 1m", "cycle 2 in 10m", "quarantine"}}},
		"quiet", "field", "field/line", "field/line/port!", "field/line/a", "field/line/b", "field/c")
	release := make(chan struct{})
	stormy := map[string]bool{}
	const calm = 2 * time.Minute // after that nobody misbehaves any more
	begin := time.Now()
	for _, path := range []string{"field/line/port", "field/line/a", "field/c"} {
		if r.IntN(3) > 0 {
			stormy[path] = true
			misbehave(w.plans[path], r, func() bool { return time.Since(begin) < calm }, release)
		}
	}
	w.run(calm)
	w.run(20 * time.Minute) // longest: quarantine of 5 minutes, a few times, and all hold times

	for path, p := range w.plans {
		cell := w.sys.Lookup(path)
		if s := cell.State(); s != actors.OK {
			t.Errorf("%s is %s (%s) long after the last fault", path, s, cell.Health().Cause)
		}
		touched := stormy[path]
		if !touched && p.lives != 1 {
			t.Errorf("%s did nothing wrong and had %d lives", path, p.lives)
		}
		if want := int(22 * 60); !touched && p.ticks < want {
			t.Errorf("%s did nothing wrong and had %d ticks of %d", path, p.ticks, want)
		}
		if p.lives > 200 {
			t.Errorf("%s was restarted %d times: no bound", path, p.lives)
		}
	}
	if len(w.starve) > 0 {
		t.Errorf("the watchdog starved: %s", <-w.starve)
	}
	close(release)
	w.stop()
	if n := w.sys.Workers(); n != 0 {
		t.Errorf("%d workers are left", n)
	}
}

// misbehave makes a plan go wrong in random ways at random beats while it storms.
func misbehave(p *plan, r *rand.Rand, storms func() bool, release chan struct{}) {
	odds := 1 + r.IntN(20)
	roll := func(life uint32) string {
		if !storms() || r.IntN(odds) != 0 {
			return ""
		}
		return faults[r.IntN(len(faults))]
	}
	next := ""
	p.started = func(life uint32) error {
		switch roll(life) {
		case "fail in started":
			return errBoom
		case "hang in started":
			<-release
		}
		return nil
	}
	p.stopped = func() {
		switch next {
		case "panic in stopped":
			next = ""
			panic("in stopped")
		case "hang in stopped":
			next = ""
			<-release
		}
	}
	p.tick = func(life uint32) error {
		switch f := roll(life); f {
		case "panic":
			panic("boom")
		case "error":
			return errBoom
		case "wedged":
			return actors.Wedged(errBoom)
		case "hang":
			<-release
		case "panic in stopped", "hang in stopped":
			next = f
			return errBoom
		}
		return nil
	}
}
