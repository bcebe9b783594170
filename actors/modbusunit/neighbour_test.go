package modbusunit_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// wiredTo dials devices over pipes, for virtual time.
func wiredTo(t *testing.T, f modbus.Framing, devices ...*sim.Device) func(context.Context) (modbus.Conn, error) {
	ctx, cancel := context.WithCancel(context.Background())
	plant := sim.NewPlant(devices...)
	var mu sync.Mutex // dials that overlap the end of the test get an error
	var running sync.WaitGroup
	t.Cleanup(func() {
		mu.Lock()
		cancel()
		mu.Unlock()
		running.Wait()
	})
	return func(context.Context) (modbus.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		near, far := net.Pipe()
		running.Go(func() { _ = plant.ServeStream(ctx, far, f) })
		return near, nil
	}
}

// virtually runs a test in virtual time, where waiting costs nothing and nothing is late.
func virtually(t *testing.T, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // lets everything under way end
		test(t)
	})
}

// piped is plant over a pipe, for virtual time.
func piped(t *testing.T, devices ...*sim.Device) *actorstest.Rig {
	r, _ := actorstest.NewVirtual(t)
	r.Start(linkPath, tcplink.Over(wiredTo(t, modbus.TCP, devices...)), &modbusv1.TcpLink{Address: "192.0.2.1", MaxBackoff: ms(200)})
	return r
}

// goodSlots counts the messages of a unit since a given time, and those with only good values.
func goodSlots(b *actorstest.Recorder, path string, since time.Time) (all, well int) {
	for _, p := range b.All() {
		s, ok := p.Message.(*samplev1.Samples)
		if ok && p.Subject == bus.Subject(actorstest.Gateway, bus.Data, path, "points") && s.Time.AsTime().After(since) {
			if all++; good(s) {
				well++
			}
		}
	}
	return all, well
}

// Silent units cost a healthy one beside them less than one slot in a hundred, both behind one
// connection and on one line.
func TestSilentUnitsCostAHealthyOneNothing(t *testing.T) {
	for _, x := range []struct {
		name    string
		silent  int
		every   int // interval of all units
		timeout int // timeout of the silent ones
		slots   int
		framing modbus.Framing
	}{
		{"connection", 20, 100, 50, 400, modbus.TCP},
		{"line", 3, 200, 100, 400, modbus.RTU},
	} {
		t.Run(x.name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				r, b := actorstest.NewVirtual(t)
				devices := []*sim.Device{meter(7)}
				for i := range x.silent {
					d := meter(uint8(100 + i))
					d.Behave(sim.Behaviour{Silent: true})
					devices = append(devices, d)
				}
				if dial := wiredTo(t, x.framing, devices...); x.framing == modbus.TCP {
					r.Start(linkPath, tcplink.Over(dial), &modbusv1.TcpLink{Address: "192.0.2.1"})
				} else {
					r.Start(linkPath, serialline.Over(dial), &modbusv1.SerialLine{Port: "/dev/virtual", Baud: 19200})
				}
				var silent []*actors.Cell
				for _, d := range devices[1:] {
					cfg := short(d.Unit(), x.every)
					cfg.Timeout, cfg.MaxBackoff = ms(x.timeout), ms(60_000)
					silent = append(silent, r.Start(fmt.Sprintf("field/plant/silent-%d", d.Unit()), modbusunit.Kind, cfg))
				}
				time.Sleep(time.Minute)
				for i, c := range silent {
					if c.State() != actors.Unreachable {
						t.Errorf("silent unit %d is %s", i, c.State())
					}
				}
				cell := r.Start(unitPath, modbusunit.Kind, short(7, x.every))
				time.Sleep(time.Second)
				begin := time.Now()
				time.Sleep(time.Duration(x.slots*x.every) * time.Millisecond)
				all, well := goodSlots(b, unitPath, begin)
				t.Logf("%d of %d slots were good, %d missed", well, x.slots, cell.Counters().MissedTicks)
				if all < x.slots-1 || float64(well) < 0.99*float64(x.slots) {
					t.Errorf("the healthy unit had %d messages, %d of them good, in %d slots", all, well, x.slots)
				}
			})
		})
	}
}
