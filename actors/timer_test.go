package actors_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"gatewayd/actors"
	"gatewayd/bus"
)

// A grid is exact: the first tick comes at once, then one per period at the same phase for ever,
// whenever the actor began and however long it takes.
func TestEveryIsAGrid(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		period := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(time.Minute)).Draw(rt, "period"))
		begin := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "begin"))
		busy := time.Duration(rapid.Int64Range(0, int64(period)-1).Draw(rt, "busy"))
		virtual(t, func(t *testing.T, r rig) {
			epoch := time.Now()
			pass(begin)
			var at []time.Duration
			cell := r.start(func(c *actors.Context, msg any) error {
				switch msg.(type) {
				case actors.Started:
					c.Every(period, tick{})
				case tick:
					at = append(at, time.Since(epoch))
					if len(at) > 1 {
						time.Sleep(busy)
					}
				}
				return nil
			})
			pass(20 * period)
			if len(at) < 20 || at[0] != begin {
				rt.Fatalf("%d ticks, the first at %s, begun at %s", len(at), at[0], begin)
			}
			for i, got := range at[2:] {
				if want := at[1] + time.Duration(i+1)*period; got != want {
					rt.Fatalf("tick %d at %s, want %s", i+2, got, want)
				}
			}
			if first := at[1] - begin; first <= 0 || first > period {
				rt.Fatalf("the second tick comes %s after the first", first)
			}
			if n := cell.Counters().MissedTicks; n > 0 {
				rt.Fatalf("%d ticks missed", n)
			}
		})
	})
}

// Of the ticks that come while one is handled, one waits; the others are missed and counted. The
// grid does not shift.
func TestMissedTicks(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var at []time.Duration
		var begin time.Time
		cell := r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Started:
				c.Every(time.Second, tick{})
			case tick:
				if len(at) == 1 {
					begin = time.Now()
				}
				at = append(at, time.Since(begin))
				if len(at) == 3 {
					time.Sleep(4500 * time.Millisecond)
				}
			}
			return nil
		})
		pass(10 * time.Second)
		// The third begins at 1 s and lasts until 5.5 s: that of 2 s waits; 3, 4 and 5 s are
		// missed.
		want := []time.Duration{0, time.Second, 5500 * time.Millisecond, 6 * time.Second, 7 * time.Second}
		if got := at[1:6]; !slices.Equal(got, want) {
			t.Errorf("ticks at %v, want %v", got, want)
		}
		if n := cell.Counters().MissedTicks; n != 3 {
			t.Errorf("%d missed, want 3", n)
		}
	})
}

// The first tick is not on the grid: an actor that handles it late has missed only the slots after
// the first.
func TestALateFirstTickMissesNoSlot(t *testing.T) {
	for late, want := range map[time.Duration]uint64{time.Second: 0, 3 * time.Second: 2} {
		virtual(t, func(t *testing.T, r rig) {
			cell := r.start(func(c *actors.Context, msg any) error {
				if _, ok := msg.(actors.Started); ok {
					c.Every(time.Second, tick{})
					time.Sleep(late)
				}
				return nil
			})
			pass(10 * time.Second)
			if n := cell.Counters().MissedTicks; n != want {
				t.Errorf("%d missed in a first tick %v late, want %d", n, late, want)
			}
		})
	}
}

// Actors with the same period neither all tick at the same moment nor each at a moment of its own.
func TestPhasesAreSpread(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var mu sync.Mutex
		phases := map[time.Duration]int{}
		epoch := time.Now()
		f := script(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Started:
				c.Every(time.Second, tick{})
			case tick:
				mu.Lock() // several tick at once
				defer mu.Unlock()
				if since := time.Since(epoch); since > 0 {
					phases[since%time.Second]++
				}
			}
			return nil
		})
		for _, a := range "abcdefghijklmnopqrst" {
			for _, b := range "abcdefghij" {
				r.Start("field/"+string(a)+"/"+string(b), scripted(f), &structpb.Struct{})
			}
		}
		pass(1100 * time.Millisecond)
		if len(phases) != 6 {
			t.Errorf("200 actors in %d slots, want 6", len(phases))
		}
	})
}

// A timer that was stopped is silent, even if its message is waiting already.
func TestStopTimer(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		var every, after, none *actors.Timer
		rang := 0
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case actors.Started:
				every = c.Every(time.Second, tick{}) // its first tick is waiting already
				every.Stop()
				none.Stop()
				after = c.After(time.Second, result{1})
			case do:
				if m.what == "late" {
					time.Sleep(2 * time.Second) // the timer fires and its message waits
					after.Stop()
				}
				c.Reply(nil)
			case tick, result:
				rang++
			}
			return nil
		})
		a := r.ask(do{"late"})
		pass(time.Minute)
		if rang > 0 || !a.done {
			t.Errorf("%d messages of stopped timers", rang)
		}
	})
}

// A request is answered even if the timer that it waits for is stopped just as it fires.
func TestATimerIsStoppedAsItFires(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case do:
				c.After(time.Second, result{1}).StopAsItFires()
			case result:
				t.Error("a stopped timer has rung")
			}
			return nil
		})
		if a := r.ask(do{}); !a.done || bus.AsError(a.err).Code != bus.Unimplemented {
			t.Errorf("%+v", a)
		}
	})
}

// Timers of a life end with it.
func TestTimersDieWithTheirLife(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		ticks := map[uint32]int{}
		r.start(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Started:
				if c.Life() == 1 {
					c.Every(time.Second, tick{})
					c.After(5*time.Second, tick{})
				}
			case tick:
				ticks[c.Life()]++
			case do:
				return errTest
			}
			return nil
		})
		pass(3 * time.Second)
		r.ask(do{})
		pass(time.Minute)
		if ticks[1] < 3 || ticks[2] > 0 {
			t.Errorf("ticks by life: %v", ticks)
		}
	})
}

// Timers of one rhythm share a timer. One that ends does not disturb the others, and one that comes
// later, or comes back, is on the same grid.
func TestTicksShareASlot(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		epoch := time.Now()
		var timer *actors.Timer
		var stays, goes []time.Duration
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case actors.Started:
				c.Every(time.Second, tick{})
				timer = c.Every(time.Second, result{})
			case do:
				if timer.Stop(); m.what == "again" {
					timer = c.Every(time.Second, result{})
				}
				c.Reply(nil)
			case tick:
				stays = append(stays, time.Since(epoch))
			case result:
				goes = append(goes, time.Since(epoch))
			}
			return nil
		})
		pass(3 * time.Second)
		r.ask(do{"stop"})
		pass(3 * time.Second)
		r.ask(do{"again"})
		pass(3 * time.Second)
		if len(stays) != 10 || len(goes) != 8 {
			t.Fatalf("%d and %d ticks: %v, %v", len(stays), len(goes), stays, goes)
		}
		for _, at := range []int{1, 2, 3} {
			if goes[at] != stays[at] || goes[at+4] != stays[at+6] {
				t.Errorf("off the grid: %v, %v", stays, goes)
			}
		}
	})
}
