package standin

import (
	"bytes"
	"net"
	"testing"
	"time"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/device"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/profiles"
	"gatewayd/protocols/modbus/sim"
)

// A simulated device of each built-in profile has a value for all of its points at any time.
func TestSimulatesEveryProfile(t *testing.T) {
	tables := map[string]sim.Table{
		points.Coil: sim.Coils, points.DiscreteInput: sim.DiscreteInputs, points.Holding: sim.HoldingRegisters, points.Input: sim.InputRegisters,
	}
	for _, name := range profiles.Names() {
		t.Run(name, func(t *testing.T) {
			equip, err := profiled(name)
			if err != nil {
				t.Fatal(err)
			}
			p, err := device.Profile(name)
			if err != nil {
				t.Fatal(err)
			}
			known, err := modbusunit.ProfileKnown(p)
			if err != nil {
				t.Fatal(err)
			}
			d := sim.NewDevice(1)
			life, err := equip(d)
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range []time.Duration{0, 37 * time.Second, time.Hour, 1000 * time.Hour} {
				life.Pass(time.Now(), run)
				for _, p := range known.Points {
					values, ok := d.Get(tables[p.Area], p.Address, max(p.Registers(), 1))
					if !ok {
						t.Fatalf("%s does not exist", p.Name)
					}
					if _, err := p.Decode(bytesOf(values, p.Bits())); err != nil {
						t.Errorf("after %s: %v", run, err)
					}
				}
			}
		})
	}
}

// A device without a profile answers every function of the specification.
func TestSimulatesEveryFunction(t *testing.T) {
	d := sim.NewDevice(7)
	if _, err := generic(d); err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	ended := make(chan error)
	go func() { ended <- sim.NewPlant(d).ServeStream(t.Context(), far, modbus.TCP) }()
	l := modbus.NewLink(near, modbus.TCP, modbus.Options{})
	for _, r := range []modbus.Request{
		{Function: modbus.ReadExceptionStatus},
		{Function: modbus.Diagnostics, Data: []byte{0, 0, 1, 2}},
		{Function: modbus.ReadEventCounter},
		{Function: modbus.ReadEventLog},
		{Function: modbus.ReportServerID},
		modbus.WriteFiles(7, modbus.Records{File: 1, Record: 7, Values: []uint16{42, 43}}),
		modbus.ReadFiles(7, modbus.Records{File: 1, Record: 6, Length: 3}),
		{Function: modbus.MaskWriteRegister, Address: 4, Quantity: 1, Data: []byte{0, 0xf2, 0, 0x25}},
		{Function: modbus.ReadWriteMultipleRegisters, Address: 3, Quantity: 2, WriteAddress: 3, Data: []byte{0, 9}},
		{Function: modbus.ReadFIFOQueue},
		{Function: modbus.EncapsulatedInterface, Data: []byte{14, 1, 0}},
	} {
		r.Unit, r.Timeout = 7, 10*time.Second
		if a, err := l.Do(t.Context(), r); err != nil {
			t.Errorf("function %d: %v", r.Function, err)
		} else if r.Function == modbus.ReadFileRecord && !bytes.HasSuffix(a.Data, []byte{0, 6, 0, 42, 0, 43}) {
			t.Errorf("records: %x", a.Data)
		}
	}
	_ = near.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// bytesOf returns registers, or one bit, as they are encoded on the wire.
func bytesOf(values []uint16, bit bool) (data []byte) {
	for _, v := range values {
		if bit {
			return []byte{byte(v)}
		}
		data = append(data, byte(v>>8), byte(v))
	}
	return data
}
