package modbusunit_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	linkPath = "field/plant/link"
	unitPath = "field/plant/meter"
)

// meter is a device whose registers 0..199 hold their own address and whose coils 0..99 are on when
// even.
func meter(unit uint8) *sim.Device {
	d := sim.NewDevice(unit)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, i)
		d.Put(sim.InputRegisters, i, 1000+i)
	}
	for i := range uint16(100) {
		d.Put(sim.Coils, i, 1-i%2)
		d.Put(sim.DiscreteInputs, i, i%2)
	}
	return d
}

// listen serves a plant over TCP until stop or the end of the test.
func listen(t *testing.T, p *sim.Plant, address string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.ServeTCP(ctx, l); err != nil {
			t.Errorf("simulator: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// plant is a TCP link to a plant of simulated devices.
func plant(t *testing.T, devices ...*sim.Device) *actorstest.Rig {
	t.Helper()
	r := actorstest.New(t)
	at, _ := listen(t, sim.NewPlant(devices...), "127.0.0.1:0")
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: at, MaxBackoff: ms(200)})
	return r
}

func ms(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

// config is a unit with points of many kinds, polled every 50 ms.
func config() *modbusv1.Unit {
	bit := uint32(1)
	return &modbusv1.Unit{
		Link: linkPath, Unit: 7, Every: ms(50), Timeout: ms(2000), MaxBackoff: ms(400),
		Points: []*modbusv1.Point{
			{Name: "power", Address: 10, Type: "uint16", Scale: 0.1, Unit: "kW"},
			{Name: "energy", Address: 20, Type: "uint32"},
			{Name: "count", Address: 30, Type: "int64"},
			{Name: "mode", Address: 3, Type: "bool", Bit: &bit},
			{Name: "relay", Area: "coil", Address: 4},
			{Name: "limit", Area: "input", Address: 5, Type: "uint16"},
		},
	}
}

func sampleOf(s *samplev1.Samples, point string) *samplev1.Sample {
	for _, x := range s.Samples {
		if x.Point == point {
			return x
		}
	}
	return &samplev1.Sample{}
}

func good(s *samplev1.Samples) bool {
	for _, x := range s.Samples {
		if x.Quality != "" {
			return false
		}
	}
	return true
}

func cause(text string) func(*samplev1.Samples) bool {
	return func(s *samplev1.Samples) bool { return strings.Contains(s.Samples[0].Cause, text) }
}

func noFault(t *testing.T, r *actorstest.Rig) {
	t.Helper()
	t.Cleanup(func() {
		select {
		case f := <-r.Faults:
			t.Errorf("%s failed: %v", f.Path, f)
		default:
		}
	})
}

func TestPollsAndPublishesOverTCP(t *testing.T) {
	s := watchStalls(t)
	r := plant(t, meter(7))
	noFault(t, r)
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	cell := r.Start(unitPath, modbusunit.Kind, config())
	first := actorstest.NextWhere(t, data, good)
	for point, want := range map[string]float64{"power": 1, "energy": 20<<16 + 21, "limit": 1005} {
		if got := sampleOf(first, point).GetNumber(); got != want {
			t.Errorf("%s is %v, want %v", point, got, want)
		}
	}
	if got := sampleOf(first, "count").GetInteger(); got != 30<<48+31<<32+32<<16+33 {
		t.Errorf("count is %d", got)
	}
	if !sampleOf(first, "mode").GetFlag() || !sampleOf(first, "relay").GetFlag() {
		t.Errorf("mode and relay are off: %v", first)
	}
	if names := first.Samples[0].Point + first.Samples[5].Point; names != "powerlimit" {
		t.Errorf("not in the order of the config: %v", first)
	}
	for i := range uint64(5) {
		if next := actorstest.Next(t, data); next.Sequence != first.Sequence+1+i || !good(next) && !s.excuse(next) {
			t.Fatalf("after %d: %v", first.Sequence+i, next)
		}
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
}

// within waits longer than the rig does.
func within(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// eventually waits for a sample longer than the rig does, because probes of silent units get only a
// small share of a link.
func eventually(t *testing.T, data <-chan *samplev1.Samples, fn func(*samplev1.Samples) bool) *samplev1.Samples {
	t.Helper()
	end := time.After(time.Minute)
	for {
		select {
		case s := <-data:
			if fn(s) {
				return s
			}
		case <-end:
			t.Fatal("what was waited for did not come")
		}
	}
}
