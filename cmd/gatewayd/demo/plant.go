package demo

import (
	"context"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"gatewayd/protocols/clock"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial/line"
)

// Plant is the simulated plant of the demo: a PLC on its own TCP port and four meters on an RS-485
// line.
type Plant struct {
	PLC   string // host:port of the PLC
	Line  *line.Line
	mixer *mixer

	stop context.CancelFunc
	done sync.WaitGroup
}

// meter is one meter on the line.
type meter struct {
	name, about string
	unit        uint8
	tolerate    int
	behaviour   sim.Behaviour
	device      *sim.Device
	energy      float64 // Wh
}

func meters() []*meter {
	return []*meter{
		{name: "meter-1", about: "A healthy meter.", unit: 1, tolerate: 3},
		{name: "meter-2", about: "A slow meter: it takes 200 ms to answer.", unit: 2, tolerate: 3, behaviour: sim.Behaviour{Delay: 200 * time.Millisecond}},
		{name: "meter-3", about: "A flaky meter: it misses every fourth request, and its wiring is bad.", unit: 3, tolerate: 6, behaviour: sim.Behaviour{Flaky: 0.25, Noise: 0.0003}},
		{name: "meter-4", about: "A silent meter: it never answers.", unit: 4, tolerate: 3, behaviour: sim.Behaviour{Silent: true}},
	}
}

// StartPlant starts the plant. The port of the line is created in dir.
func StartPlant(dir string) (*Plant, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the simulated PLC: %w", err)
	}
	wire, err := line.New(line.Options{Dir: dir, Name: "rs485-1"})
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("the simulated RS-485 line: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Plant{PLC: l.Addr().String(), Line: wire, mixer: newMixer(), stop: cancel}
	all, onLine := meters(), sim.NewPlant()
	for _, m := range all {
		m.device = sim.NewDevice(m.unit)
		m.device.Behave(m.behaviour)
		onLine.Add(m.device)
	}
	p.live(all, 0)
	p.done.Go(func() { _ = sim.NewPlant(p.mixer.device).ServeTCP(ctx, l) })
	p.done.Go(func() { _ = onLine.ServeStream(ctx, wire.Tap(), modbus.RTU) })
	p.done.Go(func() { p.lively(ctx, all) })
	return p, nil
}

// Close stops the plant.
func (p *Plant) Close() {
	p.stop()
	_ = p.Line.Close()
	p.done.Wait()
}

// Holds returns the value of a holding register of the PLC; ok is false if there is no such
// register.
func (p *Plant) Holds(register uint16) (value uint16, ok bool) {
	got, ok := p.mixer.device.Get(sim.HoldingRegisters, register, 1)
	if !ok {
		return 0, false
	}
	return got[0], true
}

// beat is how often the plant's values change.
const beat = 250 * time.Millisecond

func (p *Plant) lively(ctx context.Context, all []*meter) {
	begin := time.Now()
	clock.Regularly(ctx, beat, func(now time.Time) { p.live(all, now.Sub(begin)) })
}

// live sets all values for time t after the start.
func (p *Plant) live(all []*meter, t time.Duration) {
	p.mixer.live()
	for _, m := range all {
		m.live(t)
	}
}

// live sets the values of a meter to those of a small workshop: a varying load, the voltage that it
// pulls down, and the energy used so far.
func (m *meter) live(t time.Duration) {
	s, phase := t.Seconds(), float64(m.unit)
	power := 1500 + 900*math.Sin(s/17+phase) + 250*math.Sin(s/1.9+2*phase)
	if math.Mod(s+7*phase, 40) < 12 {
		power += 2200 // the compressor runs
	}
	voltage := 232.5 - power/1000 + 0.6*math.Sin(s/3+phase)
	m.energy += power * beat.Hours()
	temperature := 31 + power/400 + math.Sin(s/29)
	volts, watts := math.Float32bits(float32(voltage)), math.Float32bits(float32(power))
	used := uint32(100_000*phase + m.energy)
	m.device.Put(sim.InputRegisters, 0,
		uint16(volts>>16), uint16(volts), uint16(watts>>16), uint16(watts),
		uint16(used>>16), uint16(used), uint16(temperature*10))
}

// mixer is a PLC that drives a motor: coil 0 switches it on, holding register 10 is the speed
// setpoint, input registers 0 and 1 are the speed and the temperature in tenths of a degree.
type mixer struct {
	device             *sim.Device
	speed, temperature float64
}

func newMixer() *mixer {
	m := &mixer{device: sim.NewDevice(1), speed: 900, temperature: 41}
	m.device.Put(sim.Coils, 0, 1)
	m.device.Put(sim.HoldingRegisters, 10, 900)
	return m
}

func (m *mixer) live() {
	want := 0.0
	on, _ := m.device.Get(sim.Coils, 0, 1)
	set, _ := m.device.Get(sim.HoldingRegisters, 10, 1)
	if len(on) == 1 && len(set) == 1 && on[0] != 0 {
		want = float64(set[0])
	}
	m.speed += (want - m.speed) / 5
	m.temperature += (25 + m.speed/55 - m.temperature) / 40
	m.device.Put(sim.InputRegisters, 0, uint16(math.Round(m.speed)), uint16(math.Round(m.temperature*10)))
}
