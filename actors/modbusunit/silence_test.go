package modbusunit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestASilentUnitIsStaleThenProbedThenBack(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		cell := r.Start(unitPath, modbusunit.Kind, config())
		before := actorstest.NextWhere(t, data, good)
		d.Behave(sim.Behaviour{Silent: true})
		lost := actorstest.NextWhere(t, data, cause("timeout"))
		s := sampleOf(lost, "power")
		if s.Quality != "stale" || s.GetNumber() != 1 || s.Time == nil || s.Time.AsTime().Before(before.Time.AsTime()) {
			t.Errorf("stale sample: %v", s)
		}
		actorstest.NextWhere(t, data, cause("quarantined until "))
		if h := cell.Health(); h.State != actors.Unreachable || !strings.HasPrefix(h.Cause, "no answer since ") || !strings.HasSuffix(h.Cause, ": timeout") {
			t.Errorf("health %v", h)
		}
		asked, begin := d.Counters().Requests, time.Now()
		for range 40 {
			actorstest.NextWhere(t, data, cause("quarantined until "))
		}
		// The back-off doubles from 50 to 400 ms, each reduced by up to a fifth at random.
		if n, most := d.Counters().Requests-asked, 4+time.Since(begin)/(320*time.Millisecond); n > int64(most) {
			t.Errorf("%d probes within %v", n, time.Since(begin))
		}
		d.Behave(sim.Behaviour{})
		eventually(t, data, good)
		r.Until("ok", func() bool { return cell.State() == actors.OK })
	})
}

// A call to an unreachable unit is tried once.
func TestACallToAnUnreachableUnitIsTried(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		r := piped(t, d)
		noFault(t, r)
		cfg := config()
		cfg.MaxBackoff = ms(60_000)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		cell := r.Start(unitPath, modbusunit.Kind, cfg)
		d.Behave(sim.Behaviour{Silent: true})
		r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
		d.Behave(sim.Behaviour{})
		if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{}); err != nil {
			t.Fatal(err)
		}
		actorstest.NextWhere(t, data, good)
	})
}

// Whatever a device does wrong, a sample marked good has the right value.
func TestNoLieIsEverTold(t *testing.T) {
	for name, b := range map[string]sim.Behaviour{
		"wrong unit":     {Lie: sim.WrongUnit},
		"wrong function": {Lie: sim.WrongFunction},
		"wrong length":   {Lie: sim.WrongLength},
		"previous":       {Lie: sim.Previous},
		"truncated":      {Lie: sim.Truncated},
		"late":           {Late: 400 * time.Millisecond},
		"hangup":         {Hangup: true},
		"flaky":          {Flaky: 0.3, Seed: 1},
		"pieces":         {Pieces: 3, Pause: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				d := meter(7)
				r := piped(t, d)
				noFault(t, r)
				data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
				cfg := config()
				cfg.Timeout = ms(100)
				r.Start(unitPath, modbusunit.Kind, cfg)
				d.Behave(b)
				for range 30 {
					truth(t, actorstest.Next(t, data))
				}
				d.Behave(sim.Behaviour{})
				eventually(t, data, good)
			})
		})
	}
}

func truth(t *testing.T, s *samplev1.Samples) {
	t.Helper()
	for point, want := range map[string]float64{"power": 1, "energy": 20<<16 + 21, "limit": 1005} {
		if x := sampleOf(s, point); x.Value != nil && x.GetNumber() != want {
			t.Fatalf("%s is %v with quality %q", point, x.GetNumber(), x.Quality)
		}
	}
}

func TestADeviceThatHangsUpIsReadAllTheSame(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		d.Behave(sim.Behaviour{Hangup: true})
		r := piped(t, d)
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		r.Start(unitPath, modbusunit.Kind, config())
		for range 20 {
			if s := actorstest.Next(t, data); !good(s) {
				t.Fatal(s)
			}
		}
	})
}

// One missing register costs the others at most a few scans.
func TestAHoleIsFound(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := sim.NewDevice(7)
		d.Put(sim.HoldingRegisters, 0, 0, 1, 2, 3)
		d.Put(sim.HoldingRegisters, 5, 5, 6)
		r := piped(t, d)
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		cfg := config()
		cfg.Points = nil
		for i := range uint32(7) {
			cfg.Points = append(cfg.Points, &modbusv1.Point{Name: fmt.Sprintf("p%d", i), Address: i})
		}
		cell := r.Start(unitPath, modbusunit.Kind, cfg)
		s := actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool {
			n := 0
			for _, x := range s.Samples {
				if x.Quality == "" {
					n++
				}
			}
			return n == 6
		})
		if x := sampleOf(s, "p4"); x.Cause != "exception 2: illegal data address" || x.Value != nil {
			t.Errorf("p4: %v", x)
		}
		r.Until("degraded", func() bool {
			return cell.State() == actors.Degraded && cell.Health().Cause == "1 of 7 points: exception 2: illegal data address"
		})
		if _, ok := cell.Worked(); !ok {
			t.Error("a unit with one bad point has not worked")
		}
	})
}

func TestNotANumberIsBad(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := meter(7)
		d.Put(sim.HoldingRegisters, 80, 0x7fc0, 0)
		r := piped(t, d)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		cfg := config()
		cfg.Points = []*modbusv1.Point{{Name: "flow", Address: 80, Type: "float32"}}
		r.Start(unitPath, modbusunit.Kind, cfg)
		bad := func(s *samplev1.Samples) bool { return s.Samples[0].Quality == "bad" }
		if s := actorstest.NextWhere(t, data, bad).Samples[0]; s.Cause == "" || s.Value != nil {
			t.Error(s)
		}
	})
}

func TestTheLinkComesBack(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	p := sim.NewPlant(meter(7))
	at, stop := listen(t, p, "127.0.0.1:0")
	link := r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: at, MaxBackoff: ms(200)})
	states := actorstest.Watch(r, "state/+/+/+/link", &modbusv1.LinkState{})
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	cell := r.Start(unitPath, modbusunit.Kind, config())
	actorstest.NextWhere(t, data, good)
	stop()
	actorstest.NextWhere(t, data, cause("not connected: "+at+": connection refused"))
	r.Until("unreachable", func() bool { return link.State() == actors.Unreachable && cell.State() == actors.Unreachable })
	listen(t, p, at)
	actorstest.NextWhere(t, data, good)
	r.Until("ok", func() bool { return link.State() == actors.OK && cell.State() == actors.OK })
	actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return !s.Up && s.Cause != "" && s.Target == at })
	actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return s.Up && s.Cause == "" })
}

func TestTheAddressChangesLive(t *testing.T) {
	stood := watchStalls(t)
	r := actorstest.New(t)
	noFault(t, r)
	old, other := meter(7), meter(7)
	other.Put(sim.HoldingRegisters, 10, 999)
	from, _ := listen(t, sim.NewPlant(old), "127.0.0.1:0")
	to, _ := listen(t, sim.NewPlant(other), "127.0.0.1:0")
	cfg := &modbusv1.TcpLink{Address: from}
	link := r.Start(linkPath, tcplink.Kind, cfg)
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	r.Start(unitPath, modbusunit.Kind, config())
	last := actorstest.NextWhere(t, data, good)
	next := proto.CloneOf(cfg)
	next.Address = to
	link.Reconfigure(next)
	for {
		s := actorstest.Next(t, data)
		if s.Sequence != last.Sequence+1 || !good(s) && !stood.excuse(s) {
			t.Fatalf("after %d: %v", last.Sequence, s)
		}
		if last = s; sampleOf(s, "power").GetNumber() > 99 {
			return
		}
	}
}

func TestReconfigureKeepsTheSlotsOfOtherGroups(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := piped(t, meter(7))
		noFault(t, r)
		slow := actorstest.Watch(r, "data/+/+/+/points", &samplev1.Samples{})
		fast := actorstest.Watch(r, "data/+/+/+/fast", &samplev1.Samples{})
		cfg := config()
		cfg.Groups = []*modbusv1.ScanGroup{{Name: "fast", Every: ms(20)}}
		cfg.Points[5].Group = "fast"
		cell := r.Start(unitPath, modbusunit.Kind, cfg)
		last := actorstest.NextWhere(t, slow, good)
		begin, first := last.Time.AsTime(), last.Sequence
		for i := range 20 {
			next := proto.CloneOf(cfg)
			next.Groups[0].Every = ms(20 + i)
			next.Points[5].Scale = float64(i + 2)
			cell.Reconfigure(next)
			want := 1005 * float64(i+2)
			actorstest.NextWhere(t, fast, func(s *samplev1.Samples) bool { return good(s) && s.Samples[0].GetNumber() == want })
			last = actorstest.Next(t, slow)
			if !good(last) {
				t.Fatal(last)
			}
		}
		due := float64(last.Time.AsTime().Sub(begin)) / float64(50*time.Millisecond)
		if got := float64(last.Sequence - first); got < due-1 || got > due+1 {
			t.Errorf("%v slots where %v were due", got, due)
		}
	})
}
