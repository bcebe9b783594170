package modbus_test

import (
	"context"
	"sync"
	"testing"
	"time"

	simonvetter "github.com/simonvetter/modbus"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
)

// goMeter is the meter behind simonvetter's server; it does not support functions 22 and 23.
type goMeter struct {
	mu      sync.Mutex
	holding [200]uint16
	coils   [100]bool
}

func (g *goMeter) HandleCoils(r *simonvetter.CoilsRequest) ([]bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.UnitId != 7 || int(r.Addr)+int(r.Quantity) > len(g.coils) {
		return nil, simonvetter.ErrIllegalDataAddress
	}
	if r.IsWrite {
		copy(g.coils[r.Addr:], r.Args)
	}
	return append([]bool(nil), g.coils[r.Addr:r.Addr+r.Quantity]...), nil
}

func (g *goMeter) HandleDiscreteInputs(r *simonvetter.DiscreteInputsRequest) ([]bool, error) {
	return make([]bool, r.Quantity), nil
}

func (g *goMeter) HandleHoldingRegisters(r *simonvetter.HoldingRegistersRequest) ([]uint16, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.UnitId != 7 || int(r.Addr)+int(r.Quantity) > len(g.holding) {
		return nil, simonvetter.ErrIllegalDataAddress
	}
	if r.IsWrite {
		copy(g.holding[r.Addr:], r.Args)
	}
	return append([]uint16(nil), g.holding[r.Addr:r.Addr+r.Quantity]...), nil
}

func (g *goMeter) HandleInputRegisters(r *simonvetter.InputRegistersRequest) ([]uint16, error) {
	return nil, simonvetter.ErrServerDeviceBusy
}

func TestOurClientAsksSimonvetter(t *testing.T) {
	port := freeport.Port(t)
	g := &goMeter{}
	s, err := simonvetter.NewServer(&simonvetter.ServerConfiguration{URL: "tcp://127.0.0.1:" + port, Timeout: 10 * time.Second}, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	conn := dialed(t, port)
	l := modbus.NewLink(conn, modbus.TCP, modbus.Options{Timeout: 5 * time.Second})
	t.Cleanup(func() { _ = conn.Close(); _ = s.Stop() })
	ask := func(r modbus.Request) modbus.Response {
		t.Helper()
		r.Unit = 7
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ask(modbus.Request{Function: modbus.WriteMultipleRegisters, Address: 10, Quantity: 3, Data: []byte{0, 10, 0, 11, 0, 12}})
	ask(modbus.Request{Function: modbus.WriteSingleRegister, Address: 13, Data: []byte{0, 13}})
	checkMeter(t, read(7, 10, 4), ask(read(7, 10, 4)))
	ask(modbus.Request{Function: modbus.WriteSingleCoil, Address: 3, Data: []byte{0xff, 0}})
	ask(modbus.Request{Function: modbus.WriteMultipleCoils, Address: 4, Quantity: 2, Data: []byte{2}})
	if got := ask(modbus.Request{Function: modbus.ReadCoils, Address: 0, Quantity: 8}); got.Data[0] != 0x28 {
		t.Errorf("coils %x", got.Data)
	}
	busy := modbus.Request{Unit: 7, Function: modbus.ReadInputRegisters, Quantity: 1}
	if _, err := l.Do(context.Background(), busy); !isException(err, modbus.DeviceBusy) {
		t.Errorf("busy device: %v", err)
	}
}
