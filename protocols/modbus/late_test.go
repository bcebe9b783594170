package modbus_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial/line"
)

// TestLateAnswerOnThePacedLine: the same on a real serial port, where the late answer may be in
// transit when the next request is due.
func TestLateAnswerOnThePacedLine(t *testing.T) {
	const timeout = 60 * time.Millisecond
	l, wire := wired(t, line.Options{}, 19200, func(f []byte, _ time.Time) ([]byte, time.Duration) {
		if f[0] == 7 && f[3] == 150 {
			return registers(f), timeout * 3 / 2
		}
		return registers(f), 0
	})
	spoilt := 0 // answers for which this machine itself was too slow
	ask := func(unit uint8, address uint16) error {
		r := modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: 6, Timeout: timeout}
		got, err := l.Do(context.Background(), r)
		if err == nil {
			checkMeter(t, r, got)
		}
		return err
	}
	served := func(unit uint8, address uint16) {
		for i := 0; ; i++ {
			switch err := ask(unit, address); {
			case err == nil:
				return
			case errors.Is(err, modbus.ErrOwed) && i < 10_000:
				<-time.After(time.Millisecond) // nothing was sent
			default:
				if spoilt++; spoilt > 20 {
					t.Fatal(err)
				}
			}
		}
	}
	for range 5 {
		err := ask(7, 150)
		for i := 0; err == nil && i < 20; i++ { // the process was stalled until the answer had arrived
			err = ask(7, 150)
		}
		if !errors.Is(err, modbus.ErrTimeout) && !errors.Is(err, modbus.ErrCorrupt) { // or until a part of it had
			t.Fatal(err)
		}
		for i := range uint16(3) {
			served(7, i)
		}
		served(8, 10)
	}
	if s := wire.Stats(); s.Violations != 0 {
		t.Errorf("%+v", s)
	}
}
