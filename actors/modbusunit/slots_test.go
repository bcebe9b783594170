package modbusunit_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// alone is a link in virtual time that carries for one unit.
func alone(t *testing.T, r *actorstest.Rig, path string, d *sim.Device) {
	t.Helper()
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sim.NewPlant(d).ServeStream(ctx, far, modbus.TCP) }()
	t.Cleanup(func() { cancel(); _ = near.Close(); <-done })
	carrier, link, begin := wire.NewCarrier(wire.Config{Batch: 16}), modbus.NewLink(near, modbus.TCP, modbus.Options{}), time.Now()
	r.Peer(path, func(msg any) any {
		ask, ok := msg.(*wire.Ask)
		if !ok {
			return nil
		}
		var answer *wire.Answer
		carrier.Take(ask, time.Since(begin), func(a *wire.Answer) { answer = a })
		for answer == nil {
			w, wait := carrier.Elect(time.Since(begin))
			if w != nil {
				w.Run(ctx, link)
				carrier.Done(w, time.Since(begin))
			} else if answer == nil {
				time.Sleep(wait)
			}
		}
		return answer
	})
}

// published counts the messages of a unit.
func published(b *actorstest.Recorder, path string) (n int, last *samplev1.Samples) {
	for _, p := range b.All() {
		if s, ok := p.Message.(*samplev1.Samples); ok && p.Subject == bus.Subject(actorstest.Gateway, bus.Data, path, "points") {
			n, last = n+1, s
		}
	}
	return n, last
}

// A unit that falls silent on a link of its own misses no slot: each brings a
// sample, stale at worst. It is found within its longest back-off when it is back.
func TestAUnitThatFallsSilentKeepsItsSlots(t *testing.T) {
	for _, every := range []int{100, 200, 1000, 10_000} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				r, b := actorstest.NewVirtual(t)
				d := meter(7)
				alone(t, r, linkPath, d)
				cfg := config()
				cfg.Every, cfg.Timeout, cfg.MaxBackoff = ms(every), ms(1000), ms(2000)
				period := time.Duration(every) * time.Millisecond
				cell := r.Start(unitPath, modbusunit.Kind, cfg)
				time.Sleep(10*period + time.Millisecond)
				before, _ := published(b, unitPath)
				d.Behave(sim.Behaviour{Silent: true})
				const slots = 200
				time.Sleep(slots * period)
				after, s := published(b, unitPath)
				if missed := cell.Counters().MissedTicks; missed > 0 || after-before < slots-1 || after-before > slots+1 {
					t.Errorf("%d missed, %d of %d slots published", missed, after-before, slots)
				}
				if cell.State() != actors.Unreachable || s.Samples[0].Quality != "stale" || s.Sequence != uint64(after) || s.Life != 1 {
					t.Errorf("%v %v", cell.Health(), s)
				}
				d.Behave(sim.Behaviour{})
				time.Sleep(max(2*time.Second, period) + period)
				if cell.State() != actors.OK {
					t.Errorf("%v after it came back", cell.Health())
				}
			})
		})
	}
}

// A change that the bus did not take, because it was restarting for too long, is published as soon as it does.
func TestAChangeThatTheBusRefusedComesLater(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r, b := actorstest.NewVirtual(t)
		d := meter(7)
		alone(t, r, linkPath, d)
		cfg := config()
		cfg.Every, cfg.Report = ms(1000), &modbusv1.Report{On: "change"}
		r.Start(unitPath, modbusunit.Kind, cfg)
		time.Sleep(10 * time.Second)
		before, _ := published(b, unitPath)
		b.Refuse(true)
		d.Put(sim.HoldingRegisters, 10, 4321)
		time.Sleep(10 * time.Second)
		b.Refuse(false)
		time.Sleep(10 * time.Second)
		n, last := published(b, unitPath)
		if before != 1 || n != 2 || sampleOf(last, "power").GetNumber() != 432.1 {
			t.Errorf("%d messages, then %d: %v", before, n, last)
		}
	})
}

// A first scan misses no slot, wherever the grid lies; one that takes longer than
// the period does later.
func TestTheFirstScanMissesNoSlot(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r, b := actorstest.NewVirtual(t)
		for i := range 30 {
			path, d := fmt.Sprintf("field/plant/unit-%d", i), meter(7)
			alone(t, r, path+"-link", d)
			cfg := config()
			cfg.Link, cfg.Every, cfg.Points = path+"-link", ms(1000), cfg.Points[:1]
			slow := i >= 25
			d.Behave(sim.Behaviour{Delay: 250 * time.Millisecond})
			if slow {
				d.Behave(sim.Behaviour{Delay: 1250 * time.Millisecond})
				cfg.Timeout = ms(2000)
			}
			cell := r.Start(path, modbusunit.Kind, cfg)
			time.Sleep(10 * time.Second)
			n, _ := published(b, path)
			if missed := cell.Counters().MissedTicks; slow != (missed > 2) || !slow && (missed > 0 || n < 10 || n > 11) {
				t.Errorf("%s: %d slots missed, %d samples", path, missed, n)
			}
		}
	})
}
