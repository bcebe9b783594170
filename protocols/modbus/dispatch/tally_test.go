package dispatch

import (
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

func TestTallyTellsEndsApart(t *testing.T) {
	c := New(Config{})
	u := c.tally(7)
	for _, err := range []error{
		nil, nil, &modbus.Exception{Code: 2}, &modbus.Exception{Code: 2}, &modbus.Exception{Code: modbus.GatewayTarget},
		modbus.ErrTimeout, modbus.ErrCorrupt, modbus.ErrMismatch, errFull,
	} {
		u.attempt(&Result{Err: err, Outcome: outcome(err), Took: 5 * time.Millisecond}, time.Second)
	}
	got := c.Tally(7)
	if got.Requests != 8 || got.Answered != 2 || got.Timeouts != 1 || got.Corrupt != 1 || got.Mismatched != 1 || got.Busy != 8*time.Second {
		t.Errorf("%+v", got)
	}
	if e := got.Exceptions; len(e) != 2 || e[2] != 2 || e[modbus.GatewayTarget] != 1 {
		t.Errorf("exceptions %v", e)
	}
	// A gateway's report that the unit is silent is not an answer.
	if got.Latency[2] != 4 || got.Took != 20*time.Millisecond {
		t.Errorf("latency %+v", got.Latency)
	}
	if other := c.Tally(8); other.Requests != 0 || other.Unit != 8 {
		t.Errorf("%+v", other)
	}
}

// A copy of a tally is independent.
func TestTallyIsACopy(t *testing.T) {
	c := New(Config{})
	refusal := &Result{Err: &modbus.Exception{Code: 2}, Outcome: schedule.Exception}
	c.tally(1).attempt(refusal, 0)
	c.tally(2).attempt(refusal, 0)
	before := c.Tally(1)
	c.tally(1).attempt(refusal, 0)
	if total := Total(c.Tallies()); before.Exceptions[2] != 1 || total.Exceptions[2] != 3 || total.Requests != 3 {
		t.Errorf("before %+v, total %+v", before, total)
	}
}

func TestLatencyBounds(t *testing.T) {
	var y Tally
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond + 1, 5 * time.Second, time.Hour} {
		y.took(d)
	}
	if l := y.Latency; l[0] != 2 || l[1] != 1 || l[len(Bounds)-1] != 1 || l[len(Bounds)] != 1 {
		t.Error(l)
	}
}

func TestComplaintsAreRare(t *testing.T) {
	var c EventLimiter
	for _, x := range []struct {
		kind   string
		at     time.Duration
		untold uint32
		ok     bool
	}{
		{"degraded", 0, 0, true}, {"unreachable", 1, 0, true}, {"degraded", 2, 0, false}, {"degraded", eventInterval - 1, 0, false}, {"degraded", eventInterval, 2, true},
		{"unreachable", eventInterval + 1, 0, true}, {"degraded", 3 * eventInterval, 0, true},
	} {
		if untold, ok := c.Allow(x.kind, x.at); untold != x.untold || ok != x.ok {
			t.Errorf("%s at %v: %d, %v", x.kind, x.at, untold, ok)
		}
	}
}
