package serialline_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/serialline"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func meter(unit uint8) *sim.Device {
	d := sim.NewDevice(unit)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, i)
	}
	return d
}

// wired returns a simulated wire with devices on it.
func wired(t *testing.T, opts line.Options, devices ...*sim.Device) *line.Line {
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
	return w
}

func config(w *line.Line) *modbusv1.SerialLine {
	return &modbusv1.SerialLine{Port: w.Path(), Turnaround: durationpb.New(10 * time.Millisecond)}
}

func TestOpens(t *testing.T) {
	r := actorstest.New(t)
	w := wired(t, line.Options{Baud: 19200}, meter(7))
	cell := r.Start("field/line", serialline.Kind, config(w))
	r.Until("open", func() bool { return cell.State() == actors.OK })
}

// When a port disappears, the last frames on it are reported.
func TestAnUnpluggedPortTellsTheLastFrames(t *testing.T) {
	r := actorstest.New(t)
	w := wired(t, line.Options{Baud: 19200}, meter(7))
	failed := actorstest.Watch(r, "event/field/line/failed", &modbusv1.Failed{})
	cell := r.Start("field/line", serialline.Kind, config(w))
	r.Until("open", func() bool { return cell.State() == actors.OK })
	answered := make(chan any, 1)
	ask := &dispatch.Ask{Class: schedule.Poll, Requests: []modbus.Request{{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 5, Quantity: 2}}, Timeouts: []time.Duration{time.Minute}}
	r.System.Ask("field/line", ask, func(msg any, _ error) { answered <- msg })
	if a, ok := actorstest.Next(t, answered).(*dispatch.Answer); !ok || a.Results[0].Err != nil {
		t.Fatal(a)
	}
	if err := w.Unplug(); err != nil {
		t.Fatal(err)
	}
	m := actorstest.Next(t, failed)
	if text := strings.Join(m.Frames, "\n"); m.State != actors.Degraded || !strings.HasPrefix(m.Cause, "unplugged: ") || m.Framing != "rtu" ||
		!strings.Contains(text, "# unit 7: read holding registers 5+2: 5 6") {
		t.Errorf("%v\n%s", m, text)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	r := actorstest.New(t)
	cfg := config(wired(t, line.Options{}))
	cfg.Baud = serial.MaxBaud + 1
	r.Start("field/line", serialline.Kind, cfg)
	if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken {
		t.Errorf("%v asks for level %d", f, f.Level)
	}
}

// A port that another program holds is a failure after a few attempts.
func TestAPortThatIsTaken(t *testing.T) {
	r := actorstest.New(t)
	cfg := config(wired(t, line.Options{}))
	cell := r.Start("field/line", serialline.Kind, cfg)
	r.Until("open", func() bool { return cell.State() == actors.OK })
	r.Start("field/second", serialline.Kind, cfg)
	f := actorstest.Next(t, r.Faults)
	if f.Path != "field/second" || f.Level != actors.LevelRestart {
		t.Errorf("%s: %v asks for level %d", f.Path, f, f.Level)
	}
	r.Stop(cell)
	r.Until("the second has it", func() bool { return r.System.Lookup("field/second").State() == actors.OK })
}

func TestPowerOfWhatIsNoUSBAdapter(t *testing.T) {
	w := wired(t, line.Options{})
	p := serialline.Kind.Power(config(w))
	for name, f := range map[string]func(context.Context) error{"off": p.Off, "on": p.On} {
		if err := f(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p.Hold.MinOff.AsDuration() < time.Second || p.Hold.HoldOn.AsDuration() < 10*time.Second {
		t.Error(p.Hold)
	}
}

func TestMain(m *testing.M) { actorstest.Main(m) }
