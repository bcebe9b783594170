package modbusunit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/bus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// door makes calls, and also judges them.
type door struct {
	revoked *atomic.Bool
	gates   chan actors.Gate
}

func (d door) Receive(c *actors.Context, msg any) error {
	if _, ok := msg.(actors.Started); ok {
		c.SetAuthorizer(func(w actors.Caller, _ string, _ bool) error {
			if d.revoked.Load() && w.Identity == "user/otto" {
				return actors.Errorf(actors.PermissionDenied, "otto is revoked")
			}
			return nil
		})
		d.gates <- c.Gate()
	}
	return nil
}

// A write that waits for the line is not sent if its caller is revoked or gives up meanwhile.
func TestWritesThatWaitAreDroppedWithTheirCaller(t *testing.T) {
	for name, why := range map[string]string{"he is revoked": bus.PermissionDenied, "he gives up": bus.Canceled} {
		t.Run(name, func(t *testing.T) {
			slow, m := meter(8), meter(7)
			r := plant(t, m, slow)
			config := &modbusv1.Unit{Link: linkPath, Unit: 7, Timeout: ms(60000), Every: ms(3600000)}
			r.Start(unitPath, modbusunit.Kind, config)
			r.Start("field/plant/slow", modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 8, Timeout: ms(60000), Every: ms(3600000)})
			d := door{new(atomic.Bool), make(chan actors.Gate, 1)}
			r.Start("edge/door", actors.Define(actors.Kind{Name: "door", Doc: "lets in"}, func(*structpb.Struct) actors.Actor { return d }), &structpb.Struct{})
			gate := actorstest.Next(t, d.gates)
			call := func(ctx context.Context, who, path, method, request string) <-chan error {
				over := make(chan error, 1)
				go func() {
					ctx, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					over <- gate.Call(ctx, actors.Caller{Identity: "user/" + who}, "cmd/"+path+"/"+method, "", bus.JSON, []byte(request), func(actors.Called) error { return nil })
				}()
				return over
			}
			const first = `{"address":10,"values":[1]}`
			if err := actorstest.Next(t, call(t.Context(), "anna", unitPath, "WriteRegisters", first)); err != nil {
				t.Fatal(err)
			}
			begun, hold := make(chan struct{}, 1), make(chan struct{})
			slow.Changed(func(sim.Table, uint16, []uint16) { begun <- struct{}{}; <-hold })
			release := sync.OnceFunc(func() { close(hold) })
			t.Cleanup(release)
			busy := call(t.Context(), "anna", "field/plant/slow", "WriteRegisters", first)
			actorstest.Next(t, begun)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			unit := r.System.Lookup(unitPath)
			served := unit.Served()
			his := call(ctx, "otto", unitPath, "WriteRegisters", `{"address":10,"values":[77]}`)
			r.Until("the unit has asked for it", func() bool { return unit.Served() > served && unit.Counters().Waiting == 0 })
			if d.revoked.Store(why == bus.PermissionDenied); why == bus.Canceled {
				cancel()
			}
			release()
			if err := actorstest.Next(t, his); err == nil || bus.AsError(err).Code != why {
				t.Errorf("he is told %v", err)
			}
			if err := actorstest.Next(t, busy); err != nil {
				t.Error(err)
			}
			// A later request gets its turn after it.
			if err := actorstest.Next(t, call(t.Context(), "anna", unitPath, "WriteRegisters", `{"address":11,"values":[2]}`)); err != nil {
				t.Error(err)
			}
			if got, _ := m.Get(sim.HoldingRegisters, 10, 1); got[0] != 1 {
				t.Errorf("the register holds %d", got)
			}
		})
	}
}
