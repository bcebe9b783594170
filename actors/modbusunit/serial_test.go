package modbusunit_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial/line"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// wired is a simulated wire with devices on it and the line that drives it.
func wired(t *testing.T, r *actorstest.Rig, opts line.Options, devices ...*sim.Device) (*line.Line, *actors.Cell, *modbusv1.SerialLine) {
	t.Helper()
	opts.Dir, opts.Name = t.TempDir(), "rs485-1"
	w, err := line.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sim.NewPlant(devices...).ServeStream(ctx, w.Tap(), modbus.RTU) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulator: %v", err)
		}
		_ = w.Close()
	})
	cfg := &modbusv1.SerialLine{Port: w.Path(), Baud: 19200}
	return w, r.Start(linkPath, serialline.Kind, cfg), cfg
}

// short is a unit with one read of two registers.
func short(unit uint8, every int) *modbusv1.Unit {
	cfg := config()
	cfg.Unit, cfg.Every = uint32(unit), ms(every)
	cfg.Points = []*modbusv1.Point{{Name: "power", Address: 10, Scale: 0.1}, {Name: "energy", Address: 11}}
	return cfg
}

func TestUnplugAndPlug(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	w, cell, _ := wired(t, r, line.Options{}, meter(7))
	states := actorstest.Watch(r, "state/+/+/+/link", &modbusv1.LinkState{})
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	unit := r.Start(unitPath, modbusunit.Kind, short(7, 50))
	actorstest.NextWhere(t, data, good)
	for range 3 {
		if err := w.Unplug(); err != nil {
			t.Fatal(err)
		}
		s := actorstest.NextWhere(t, data, cause("line unplugged: "+w.Path()))
		if x := s.Samples[0]; x.Quality != "stale" || x.GetNumber() != 1 {
			t.Error(x)
		}
		r.Until("health", func() bool {
			return cell.Health().Cause == "unplugged: "+w.Path() && cell.State() == actors.Degraded && unit.State() == actors.Unreachable
		})
		_, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
		if want := "unavailable: unit 7: line unplugged: " + w.Path(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := w.Plug(); err != nil {
			t.Fatal(err)
		}
		actorstest.NextWhere(t, data, good)
		r.Until("ok", func() bool { return cell.State() == actors.OK && unit.State() == actors.OK })
	}
	actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return !s.Up && s.Cause == "unplugged: "+w.Path() })
	actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return s.Up && s.Target == w.Path()+" 19200 8E1" })
	if n := cell.Life(); n != 1 {
		t.Errorf("%d lives", n)
	}
}

// A line without polls notices it too.
func TestAnIdleLineNoticesThatItIsUnplugged(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	noFault(t, r)
	w, cell, _ := wired(t, r, line.Options{}, meter(7))
	r.Until("open", func() bool { return cell.State() == actors.OK })
	if err := w.Unplug(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "noticed", func() bool { return cell.State() == actors.Degraded })
	if err := w.Plug(); err != nil {
		t.Fatal(err)
	}
	r.Until("open", func() bool { return cell.State() == actors.OK })
}

func TestNoDeviceAtTheStart(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	cell := r.Start(linkPath, serialline.Kind, &modbusv1.SerialLine{Port: t.TempDir() + "/tty"})
	r.Until("degraded", func() bool { return cell.State() == actors.Degraded })
}

func TestBaudChangesLive(t *testing.T) {
	stood := watchStalls(t)
	r := actorstest.New(t)
	noFault(t, r)
	w, cell, cfg := wired(t, r, line.Options{Baud: 19200}, meter(7))
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	r.Start(unitPath, modbusunit.Kind, short(7, 50))
	last := actorstest.NextWhere(t, data, good)
	for _, baud := range []int{9600, 38400, 115200} {
		w.SetBaud(baud)
		cfg = proto.CloneOf(cfg)
		cfg.Baud = uint32(baud)
		cell.Reconfigure(cfg)
		last = actorstest.NextWhere(t, data, good)
		for range 3 {
			s := actorstest.Next(t, data)
			if !good(s) && !stood.excuse(s) {
				t.Errorf("%d Bd: %v", baud, s)
			}
			last = s
		}
	}
	if last.Samples[0].GetNumber() != 1 || cell.Life() != 1 {
		t.Errorf("%v in life %d", last, cell.Life())
	}
}

// Config changes of the line that do not affect the devices cost no slot.
func TestReconfigureLosesNoSlot(t *testing.T) {
	stood, begin := watchStalls(t), time.Now()
	r := actorstest.New(t)
	noFault(t, r)
	w, cell, cfg := wired(t, r, line.Options{}, meter(7))
	states := actorstest.Watch(r, "state/"+linkPath+"/link", &modbusv1.LinkState{})
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	unit := r.Start(unitPath, modbusunit.Kind, short(7, 150))
	last := actorstest.NextWhere(t, data, good)
	before := unit.Counters().MissedTicks
	for i := range 12 {
		cfg = proto.CloneOf(cfg)
		cfg.Baud, cfg.Parity = uint32(19200*(1+i%2)), []string{"none", "odd", "even"}[i%3]
		cell.Reconfigure(cfg)
		is := fmt.Sprintf("%s %d %s", w.Path(), cfg.Baud, []string{"8N2", "8O1", "8E1"}[i%3])
		actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return s.Up && s.Target == is })
		s := actorstest.Next(t, data)
		if s.Sequence != last.Sequence+1 || !good(s) && !stood.excuse(s) {
			t.Fatalf("after %d: %v", last.Sequence, s)
		}
		last = s
	}
	if n := unit.Counters().MissedTicks; n != before && !stood.between(begin, time.Now()) {
		t.Errorf("%d slots missed", n-before)
	}
}

func TestNoiseOnTheWireIsNeverAValue(t *testing.T) {
	t.Parallel()
	for name, noise := range map[string]struct{ loss, flip float64 }{"loss": {0.01, 0}, "flips": {0, 0.01}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := actorstest.New(t)
			noFault(t, r)
			w, _, _ := wired(t, r, line.Options{Seed: 4}, meter(7))
			data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
			r.Start(unitPath, modbusunit.Kind, short(7, 30))
			actorstest.NextWhere(t, data, good)
			w.SetNoise(noise.loss, noise.flip)
			for range 100 {
				s := actorstest.Next(t, data)
				for i, want := range []float64{1, 11} {
					if x := s.Samples[i]; x.Value != nil && x.GetNumber() != want {
						t.Fatal(x)
					}
				}
			}
			w.SetNoise(0, 0)
			eventually(t, data, good)
		})
	}
}

func TestDrills(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	_, cell, _ := wired(t, r, line.Options{}, meter(7))
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	r.Start(unitPath, modbusunit.Kind, short(7, 50))
	actorstest.NextWhere(t, data, good)
	drill := func(fault string, rate float64) {
		t.Helper()
		done := make(chan error, 1)
		cell.Drill(fault, rate, 0, func(err error) { done <- err })
		if err := actorstest.Next(t, done); err != nil {
			t.Fatal(err)
		}
	}
	drill("unplug", 0)
	actorstest.NextWhere(t, data, cause("(a drill)"))
	drill("plug", 0)
	actorstest.NextWhere(t, data, good)
	drill("corrupt", 1)
	actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return s.Samples[0].Quality == "stale" })
	drill("corrupt", 0)
	eventually(t, data, good)
	if n := cell.Life(); n != 1 {
		t.Errorf("%d lives", n)
	}
}
