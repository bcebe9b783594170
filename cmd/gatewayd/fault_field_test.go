package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/modbus/sim"
)

// Once silent, lying, noisy and slow units are recognised as such, they cost others on the same
// wire or connection less than one poll in a hundred. No wrong value is ever published, not even
// from units that lie.
func TestFaultNeighboursKeepTheirRate(t *testing.T) {
	const every = 200 * time.Millisecond
	s := newSite(t)
	near := s.host("plc", every, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	_, far := s.wire("rs485", every, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	healthy := append(near[:2:2], far[:2]...)
	var out, half []*faultUnit // units that are recognised as silent, and those that answer now and then
	for _, units := range [][]*faultUnit{near[2:], far[2:]} {
		for i, b := range []sim.Behaviour{
			{Silent: true}, {Lie: sim.WrongUnit}, {Lie: sim.WrongFunction}, {Lie: sim.WrongLength}, {Lie: sim.Previous},
			{Lie: sim.Truncated}, {Late: 40 * time.Millisecond}, {Noise: 0.001},
		}[:len(units)] {
			units[i].every, units[i].options = 500*time.Millisecond, "timeout = \"80ms\"\n"
			units[i].device.Behave(b)
			switch {
			case b.Lie == sim.Previous: // when asked for the same twice in a row, its second answer is right
				half = append(half, units[i])
			case i < 6:
				out = append(out, units[i])
			}
		}
	}
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(healthy...)
	for _, u := range out {
		r.until(u.path+" is known for it", func() bool { return r.state1(u.path) == "unreachable" })
	}
	for _, u := range half {
		r.until(u.path+" is known for it", func() bool { return slices.Contains([]string{"degraded", "unreachable"}, r.state1(u.path)) })
	}
	begin, long := time.Now(), 12*time.Second
	if testing.Short() {
		long = 4 * time.Second
	}
	r.span(long)
	w.honest()
	for _, u := range healthy {
		all, missed, late := slots(u.since(begin), every)
		t.Logf("%s: %d slots, %d missed, %s late at most (the machine itself %s)", u.path, all, missed, late.Round(time.Millisecond), m.worst(begin).Round(time.Millisecond))
		free := int(m.worst(begin)/every) + m.stalls(begin, every/2) + min(int(r.waited()/every), all/4)
		if float64(missed-free) > max(1, 0.01*float64(all)) {
			t.Errorf("%s: missed %d of %d slots", u.path, missed, all)
		}
		if want := int(long/every) - 2; all < want {
			t.Errorf("%s: polled in %d slots, there were %d", u.path, all, want)
		}
	}
	r.stop(faultWait)
}

// A port is unplugged and plugged in again under a polled line. Its readings are good again within
// a second, plus the time for which the machine itself stalls.
func TestFaultUnpluggedPort(t *testing.T) {
	s := newSite(t)
	other := s.host("plc", 100*time.Millisecond, 1)
	wire, units := s.wire("rs485", 100*time.Millisecond, 11, 12)
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(append(units, other...)...)
	begin := time.Now()
	for range 3 {
		if err := wire.Unplug(); err != nil {
			t.Fatal(err)
		}
		pulled := time.Now()
		for _, u := range units {
			r.until(u.path+" is stale: unplugged", func() bool {
				h, ok := w.last(u.path)
				return ok && h.arrived.After(pulled) && !h.good && strings.Contains(h.causes, "unplugged: ")
			})
		}
		seen := time.Since(pulled)
		if err := wire.Plug(); err != nil {
			t.Fatal(err)
		}
		back, waited := time.Now(), r.waited()
		w.good(units...)
		took := time.Since(back)
		if pause := m.worst(back) + r.waited() - waited; took > time.Second+pause {
			t.Errorf("good again %s after the port is back, and the machine kept it from that for %s", took, pause)
		}
		t.Logf("stale after %s, good again after %s", seen.Round(time.Millisecond), took.Round(time.Millisecond))
	}
	w.undisturbed(begin, m, other...)
	r.stop(faultWait)
}
