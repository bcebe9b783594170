package modbusunit_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// alone is a link in virtual time with a single unit.
func alone(t *testing.T, r *actorstest.Rig, path string, d *sim.Device) {
	t.Helper()
	near, far := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sim.NewPlant(d).ServeStream(ctx, far, modbus.TCP) }()
	t.Cleanup(func() { cancel(); _ = near.Close(); <-done })
	dispatcher, link, begin := dispatch.New(dispatch.Config{BatchSize: 16}), modbus.NewLink(near, modbus.TCP, modbus.Options{}), time.Now()
	r.Peer(path, func(msg any) any {
		ask, ok := msg.(*dispatch.Ask)
		if !ok {
			return nil
		}
		var answer *dispatch.Answer
		dispatcher.Submit(ask, time.Since(begin), func(a *dispatch.Answer) { answer = a })
		for answer == nil {
			w, wait := dispatcher.Next(time.Since(begin))
			if w != nil {
				w.Run(ctx, link)
				dispatcher.Done(w, time.Since(begin))
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

// A unit that falls silent on a link of its own misses no slot: each brings a sample, if only a
// stale one. When it is back, it is found within its longest back-off.
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

// A change that the bus did not accept, because its restart took too long, is published as soon as
// the bus accepts it.
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

// A first scan misses no slot, wherever the grid lies. One that takes longer than the interval
// misses slots later.
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

// A new address, new points and a new group of one unit take effect within a scan, and its
// neighbour on the same line keeps every slot.
func TestChangesOfAUnitCostItsNeighbourNoSlot(t *testing.T) {
	virtually(t, func(t *testing.T) {
		other := meter(9)
		other.Put(sim.HoldingRegisters, 10, 999)
		r, b := actorstest.NewVirtual(t)
		noFault(t, r)
		r.Start(linkPath, tcplink.Over(wiredTo(t, modbus.TCP, meter(7), meter(8), other)), &modbusv1.TcpLink{Address: "192.0.2.1", MaxBackoff: ms(200)})
		const beside = "field/plant/beside"
		neighbour := config()
		neighbour.Unit = 8
		still := r.Start(beside, modbusunit.Kind, neighbour)
		cfg := config()
		changed := r.Start(unitPath, modbusunit.Kind, cfg)
		data := actorstest.Watch(r, "data/"+unitPath+"/#", &samplev1.Samples{})
		all := actorstest.Watch(r, "data/"+beside+"/points", &samplev1.Samples{})
		actorstest.NextWhere(t, data, good)
		first := actorstest.NextWhere(t, all, good)
		begin, missed := time.Now(), still.Counters().MissedTicks
		apply := func(what string, change func(*modbusv1.Unit), want func(*samplev1.Samples) bool) {
			t.Helper()
			cfg = proto.CloneOf(cfg)
			change(cfg)
			at := time.Now()
			changed.Reconfigure(cfg)
			actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return good(s) && want(s) })
			if took := time.Since(at); took > 100*time.Millisecond {
				t.Errorf("%s takes effect after %s", what, took)
			}
		}
		power := func(s *samplev1.Samples) float64 { return sampleOf(s, "power").GetNumber() }
		for range 5 {
			apply("another address", func(c *modbusv1.Unit) { c.Unit = 9 }, func(s *samplev1.Samples) bool { return power(s) == 99.9 })
			apply("the first address", func(c *modbusv1.Unit) { c.Unit = 7 }, func(s *samplev1.Samples) bool { return power(s) == 1 })
			apply("one point more", func(c *modbusv1.Unit) {
				c.Points = append(c.Points, &modbusv1.Point{Name: "more", Address: 150})
			}, func(s *samplev1.Samples) bool { return sampleOf(s, "more").GetNumber() == 150 })
			apply("in a group", func(c *modbusv1.Unit) {
				c.Groups = []*modbusv1.ScanGroup{{Name: "fast", Every: ms(20)}}
				c.Points[len(c.Points)-1].Group = "fast"
			}, func(s *samplev1.Samples) bool { return len(s.Samples) == 1 && s.Samples[0].GetNumber() == 150 })
			apply("neither", func(c *modbusv1.Unit) {
				c.Groups, c.Points = nil, c.Points[:len(c.Points)-1]
			}, func(s *samplev1.Samples) bool { return len(s.Samples) == len(config().Points) })
		}
		time.Sleep(time.Second)
		n, last := published(b, beside)
		due := int(time.Since(begin) / (50 * time.Millisecond))
		if still.Counters().MissedTicks != missed || int(last.Sequence-first.Sequence) < due-1 || uint64(n) != last.Sequence {
			t.Errorf("%d slots missed, %d messages where %d were due", still.Counters().MissedTicks-missed, last.Sequence-first.Sequence, due)
		}
		for s := first; s.Sequence < last.Sequence; {
			if s = actorstest.Next(t, all); !good(s) {
				t.Fatalf("beside it: %v", s)
			}
		}
		if changed.Life() != 1 {
			t.Errorf("life %d", changed.Life())
		}
	})
}
