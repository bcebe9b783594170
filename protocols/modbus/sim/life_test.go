package sim_test

import (
	"context"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/sim"
)

// For any point, the contents of the device are a value of it.
func TestLifeGivesEveryPointAValue(t *testing.T) {
	units := []string{"", "V", "A", "kW", "W", "kWh", "Wh", "Hz", "°C", "%", "kvar", "m", "furlong", "s"}
	rapid.Check(t, func(t *rapid.T) {
		p := points.Point{
			Name: rapid.SampledFrom([]string{"x", "power-factor"}).Draw(t, "name"),
			Area: rapid.SampledFrom([]string{points.Holding, points.Input, points.Coil, points.DiscreteInput}).Draw(t, "area"),
			Type: rapid.SampledFrom(points.Types()).Draw(t, "type"), Unit: rapid.SampledFrom(units).Draw(t, "unit"),
			Address: rapid.Uint16Max(65000).Draw(t, "address"), Scale: rapid.SampledFrom([]float64{0, 1, 0.1, 0.001, 10}).Draw(t, "scale"),
		}
		if p.Bits() {
			p.Type = points.Bool
		}
		if p.Type == points.String || p.Type == points.Bytes {
			p.Length = rapid.IntRange(1, 10).Draw(t, "length")
		}
		if p.Check() != nil {
			p.Scale = 0
		}
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		d := sim.NewDevice(rapid.Uint8().Draw(t, "unit address"))
		life, err := sim.NewLife(d, []points.Point{p}, points.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		run := time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "run"))
		life.Pass(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(run), run)
		if _, err := p.Decode(held(t, d, p)); err != nil {
			t.Fatal(err)
		}
	})
}

// held returns what a client reads for a point.
func held(t interface{ Fatalf(string, ...any) }, d *sim.Device, p points.Point) []byte {
	table := map[string]sim.Table{
		points.Coil: sim.Coils, points.DiscreteInput: sim.DiscreteInputs, points.Holding: sim.HoldingRegisters, points.Input: sim.InputRegisters,
	}[p.Area]
	values, ok := d.Get(table, p.Address, max(p.Registers(), 1))
	if !ok {
		t.Fatalf("%s %d does not exist", p.Area, p.Address)
	}
	var data []byte
	for _, v := range values {
		if p.Bits() {
			return []byte{byte(v)}
		}
		data = append(data, byte(v>>8), byte(v))
	}
	return data
}

func TestLifeMovesSlowly(t *testing.T) {
	volts := points.Point{Name: "voltage", Area: points.Input, Type: points.Float32, Unit: "V"}
	energy := points.Point{Name: "energy", Area: points.Input, Address: 2, Type: points.Float32, Unit: "kWh"}
	d := sim.NewDevice(7)
	life, err := sim.NewLife(d, []points.Point{volts, energy}, points.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	at := func(p points.Point) float64 {
		v, err := p.Decode(held(t, d, p))
		if err != nil {
			t.Fatal(err)
		}
		f, _ := v.Float64()
		return f
	}
	before, used, seen := at(volts), at(energy), map[float64]bool{}
	for s := range 600 {
		life.Pass(time.Now(), time.Duration(s)*time.Second)
		now := at(volts)
		if math.Abs(now-before) > 1 || now < 220 || now > 240 {
			t.Fatalf("the voltage goes from %g to %g in a second", before, now)
		}
		if at(energy) < used {
			t.Fatalf("the energy goes from %g back to %g", used, at(energy))
		}
		before, used = now, at(energy)
		seen[now] = true
	}
	if len(seen) < 50 {
		t.Errorf("the voltage had %d values in 600 s", len(seen))
	}
}

// What a client has written is kept.
func TestLifeKeepsWhatIsWritten(t *testing.T) {
	p := points.Point{Name: "limit", Area: points.Holding, Address: 5, Type: points.Uint16, Unit: "W"}
	d := sim.NewDevice(7)
	life, err := sim.NewLife(d, []points.Point{p}, points.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	l := dial(t, listen(t, sim.NewPlant(d)))
	if _, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.WriteSingleRegister, Address: 5, Quantity: 1, Data: []byte{0, 42}}); err != nil {
		t.Fatal(err)
	}
	life.Pass(time.Now(), time.Hour)
	if got, _ := d.Get(sim.HoldingRegisters, 5, 1); got[0] != 42 {
		t.Errorf("it holds %d", got[0])
	}
}

func TestFaultsByName(t *testing.T) {
	for text, want := range map[string]sim.Behaviour{
		"slow=200ms": {Delay: 200 * time.Millisecond}, "late=2s": {Late: 2 * time.Second}, "silent": {Silent: true},
		"flaky=25%": {Flaky: 0.25}, "noisy=0.1%": {Noise: 0.001}, "exception=4": {Exception: 4}, "hangup": {Hangup: true},
		"lying": {Lie: sim.WrongUnit}, "lying=previous": {Lie: sim.Previous},
	} {
		if got, err := sim.ParseFault(sim.Behaviour{}, text); err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "slow", "slow=-1s", "flaky=101%", "flaky=NaN", "exception=0", "silent=1", "lying=a", "fast"} {
		if _, err := sim.ParseFault(sim.Behaviour{}, text); err == nil {
			t.Errorf("%q is a fault", text)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, text := range []string{"slow=200ms", "flaky=25%", "lying=previous", "exception=4", "silent"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := sim.ParseFault(sim.Behaviour{}, text)
		if err == nil && (b.Flaky < 0 || b.Flaky > 1 || b.Noise < 0 || b.Noise > 1 || b.Delay < 0 || b.Late < 0) {
			t.Errorf("%q is %+v", text, b)
		}
	})
}
