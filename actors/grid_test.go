package actors

import (
	"testing"
	"time"
)

// Slots that were skipped because the machine stalled count as missed, from each timer's first slot
// on.
func TestSlotsPassedOverAreMissed(t *testing.T) {
	g := &grid{epoch: time.Now().Add(-10*time.Hour - 30*time.Minute)}
	s := &slots{grid: g, rhythm: rhythm{every: time.Hour}, next: 3 * time.Hour, timer: time.NewTimer(time.Hour)}
	defer s.timer.Stop()
	want := map[int]uint64{1: 7, 3: 7, 4: 6, 9: 1, 10: 0, 11: 0}
	timers := map[int]*Timer{}
	for first := range want {
		one := &Timer{life: &life{cell: &Cell{}}, first: time.Duration(first) * time.Hour, slots: s}
		one.pending.Store(true) // so that nothing is delivered
		s.ticks.add(one)
		timers[first] = one
	}
	s.fire()
	for first, n := range want {
		one := timers[first]
		if got := one.life.cell.missed.Load(); got != n || one.began != (first <= 10) {
			t.Errorf("one whose first slot is %d: %d missed, want %d", first, got, n)
		}
	}
	if s.next != 11*time.Hour {
		t.Errorf("the next is %s", s.next)
	}
}
