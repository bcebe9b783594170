package dispatch

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// Tally counts the outcomes of the requests to one unit. Each request that was sent counts once
// among Answered, Exceptions, Timeouts, Corrupt and Mismatched.
type Tally struct {
	Unit       uint8
	Requests   uint64
	Answered   uint64
	Exceptions map[uint8]uint64 // number of exceptions by code
	Timeouts   uint64
	Corrupt    uint64
	Mismatched uint64
	Retries    uint64
	Late       uint64        // answers that arrived after the request was given up
	Busy       time.Duration // of the line or connection, including waiting for answers
	// Latency is that of answers and exceptions: element i counts those above Bounds[i-1] and up to Bounds[i]; the
	// last has no upper bound
	Latency []uint64
	Took    time.Duration // sum of these latencies
}

// Bounds are the upper bounds of the classes of Tally.Latency, except for the last class, which has
// none.
var Bounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
}

// attempt counts one request and its outcome.
func (t *Tally) attempt(r *Result, busy time.Duration) {
	if r.Outcome == schedule.NotSent {
		return
	}
	t.Requests++
	t.Busy += busy
	if r.Outcome == schedule.Answered || r.Outcome == schedule.Exception {
		t.took(r.Took)
	}
	var e *modbus.Exception
	switch {
	case r.Outcome == schedule.Answered:
		t.Answered++
	case errors.As(r.Err, &e):
		t.refused(e.Code, 1)
	case r.Outcome == schedule.NoAnswer:
		t.Timeouts++
	case mismatched(r.Err):
		t.Mismatched++
	default:
		t.Corrupt++
	}
}

func (t *Tally) took(d time.Duration) {
	if t.Latency == nil {
		t.Latency = make([]uint64, len(Bounds)+1)
	}
	class, _ := slices.BinarySearch(Bounds[:], d) // a bound belongs to its class
	t.Latency[class]++
	t.Took += d
}

func (t *Tally) refused(code uint8, n uint64) {
	if t.Exceptions == nil {
		t.Exceptions = map[uint8]uint64{}
	}
	t.Exceptions[code] += n
}

// add adds the counts of another Tally.
func (t *Tally) add(o *Tally) {
	t.Requests += o.Requests
	t.Answered += o.Answered
	t.Timeouts += o.Timeouts
	t.Corrupt += o.Corrupt
	t.Mismatched += o.Mismatched
	t.Retries += o.Retries
	t.Late += o.Late
	t.Busy += o.Busy
	t.Took += o.Took
	for code, n := range o.Exceptions {
		t.refused(code, n)
	}
	if t.Latency == nil {
		t.Latency = slices.Clone(o.Latency)
		return
	}
	for i, n := range o.Latency {
		t.Latency[i] += n
	}
}

// Total returns the sum of the tallies.
func Total(all []Tally) (t Tally) {
	for i := range all {
		t.add(&all[i])
	}
	return t
}

// TallyUnit is the message by which a unit asks its line or link for its Tally.
type TallyUnit struct{ Unit uint8 }

func (d *Dispatcher) tally(unit uint8) *Tally {
	t := d.tallies.Make(unit)
	t.Unit = unit
	return t
}

// Tally returns the counts of the requests to one unit.
func (d *Dispatcher) Tally(unit uint8) Tally { return d.counted(unit, d.config.Tap.Late()) }

// Tallies returns the tallies of all units that were ever addressed, in the order of their
// addresses.
func (d *Dispatcher) Tallies() []Tally {
	late := d.config.Tap.Late()
	all := make([]Tally, 0, len(d.tallies.All()))
	for _, t := range d.tallies.All() {
		all = append(all, d.counted(t.Unit, late))
	}
	return all
}

// counted returns a copy, which the caller may keep.
func (d *Dispatcher) counted(unit uint8, late map[uint8]uint64) Tally {
	t := Tally{Unit: unit}
	if known := d.tallies.Of(unit); known != nil {
		t.add(known)
	}
	t.Late = late[unit]
	return t
}
