package clock_test

import (
	"testing"
	"time"

	"gatewayd/protocols/clock"
)

func TestRead(t *testing.T) {
	a, b := clock.Read(), clock.Read()
	if a.Uptime <= 0 || b.Uptime < a.Uptime || b.Wall.Before(a.Wall.Add(-time.Second)) {
		t.Errorf("%+v then %+v", a, b)
	}
	if len(clock.Boot()) != 36 {
		t.Errorf("boot id %q", clock.Boot())
	}
}

func TestTrust(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	at := func(uptime time.Duration, wall time.Time, synced bool) clock.Reading {
		return clock.Reading{Wall: wall, Uptime: uptime, Synchronised: synced}
	}
	var plain clock.Trust
	kernel := clock.Trust{Synchronised: true}
	for _, s := range []struct {
		r             clock.Reading
		plain, kernel bool // becomes right
		step          time.Duration
	}{
		{at(time.Second, time.Unix(1, 0), false), false, false, 0},
		{at(2*time.Second, time.Unix(2, 3e8), false), false, false, 0}, // slewed
		{at(3*time.Second, now, false), true, false, time.Duration(now.UnixNano()) - 3*time.Second - 3e8},
		{at(4*time.Second, now.Add(time.Second), true), false, true, 0},
		{at(5*time.Second, now.Add(2*time.Second-25*time.Hour), false), false, false, -25 * time.Hour},
	} {
		right, step := plain.See(s.r)
		if right != s.plain || step != s.step {
			t.Errorf("%+v: right %v, step %s; want %v, %s", s.r, right, step, s.plain, s.step)
		}
		if right, _ = kernel.See(s.r); right != s.kernel {
			t.Errorf("%+v: right by the kernel %v", s.r, right)
		}
	}
	if !plain.Right() || !kernel.Right() {
		t.Error("a step makes a clock that was right wrong")
	}
}
