package modbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

func TestEveryFunctionOverEveryFraming(t *testing.T) {
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			d := meter(7)
			l := linked(t, sim.NewPlant(d), f, modbus.Options{Timeout: 2 * time.Second})
			everyFunction(t, l, 7)
			if got := d.Counters().Writes; got != 6 {
				t.Errorf("%d writes arrived, 6 were sent", got)
			}
		})
	}
}

// everyFunction uses every function on a meter once. It leaves registers 100..104 and coils 50..60
// changed.
func everyFunction(t *testing.T, l *modbus.Link, unit uint8) {
	t.Helper()
	ask := func(r modbus.Request) modbus.Response {
		t.Helper()
		r.Unit = unit
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	checkMeter(t, read(unit, 3, 125), ask(read(unit, 3, 125)))
	if got := ask(modbus.Request{Function: modbus.ReadInputRegisters, Address: 5, Quantity: 2}); got.Register(1) != 1006 {
		t.Errorf("input register 6 = %d", got.Register(1))
	}
	if got := ask(modbus.Request{Function: modbus.ReadCoils, Quantity: 11}); !got.Bit(9) || got.Bit(10) || len(got.Data) != 2 {
		t.Errorf("coils %x", got.Data)
	}
	if got := ask(modbus.Request{Function: modbus.ReadDiscreteInputs, Quantity: 8}); got.Bit(0) || !got.Bit(1) {
		t.Errorf("discrete inputs %x", got.Data)
	}
	ask(modbus.Request{Function: modbus.WriteSingleCoil, Address: 50, Data: []byte{0xff, 0}})
	ask(modbus.Request{Function: modbus.WriteMultipleCoils, Address: 51, Quantity: 9, Data: []byte{0x55, 1}})
	if got := ask(modbus.Request{Function: modbus.ReadCoils, Address: 50, Quantity: 10}); got.Data[0] != 0xab || got.Data[1] != 2 {
		t.Errorf("coils after writing %x", got.Data)
	}
	ask(modbus.Request{Function: modbus.WriteSingleRegister, Address: 100, Data: []byte{0xca, 0xfe}})
	ask(modbus.Request{Function: modbus.WriteMultipleRegisters, Address: 101, Quantity: 2, Data: []byte{1, 2, 3, 4}})
	ask(modbus.Request{Function: modbus.MaskWriteRegister, Address: 101, Data: []byte{0, 0xf2, 0, 0x25}})
	got := ask(modbus.Request{Function: modbus.ReadWriteMultipleRegisters, Address: 100, Quantity: 5, WriteAddress: 103, Data: []byte{9, 9}})
	for i, want := range []uint16{0xcafe, 0x0007, 0x0304, 0x0909, 104} {
		if got.Register(i) != want {
			t.Errorf("register %d = %#04x, want %#04x", 100+i, got.Register(i), want)
		}
	}
	var refused *modbus.Exception
	if _, err := l.Do(context.Background(), read(unit, 65000, 1)); !errors.As(err, &refused) || refused.Code != modbus.IllegalAddress {
		t.Errorf("register that does not exist: %v", err)
	} else if modbus.LinkLost(err) {
		t.Errorf("an exception must not cost the link: %v", err)
	}
	checkMeter(t, read(unit, 0, 1), ask(read(unit, 0, 1)))
}
