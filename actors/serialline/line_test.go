package serialline_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/serialline"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/modbus/wire"
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

// wired is a simulated wire with devices on it.
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

// asker is an actor that asks a line what a test wants to be asked.
func read(unit uint8, address uint16) *wire.Ask {
	return &wire.Ask{Class: schedule.Interactive, Timeouts: []time.Duration{300 * time.Millisecond}, Requests: []modbus.Request{
		{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: 2},
	}}
}

type asker struct{ answers chan any }

type please struct{ ask *wire.Ask }

func (a asker) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case please:
		c.Ask("field/line", m.ask, 5*time.Second)
	case *wire.Answer, actors.Failed:
		a.answers <- m
	}
	return nil
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
