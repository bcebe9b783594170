package modbusunit_test

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// registers returns n points of one register each, from address 0, read every second.
func registers(n int) *modbusv1.Unit {
	cfg := &modbusv1.Unit{Link: linkPath, Unit: 7, Every: ms(1000), Timeout: ms(500), MaxBackoff: ms(60_000)}
	for i := range n {
		cfg.Points = append(cfg.Points, &modbusv1.Point{Name: fmt.Sprintf("p%d", i), Address: uint32(i)})
	}
	return cfg
}

// wellOf counts the good samples.
func wellOf(s *samplev1.Samples) (n int) {
	for _, x := range s.Samples {
		if x.Quality == "" {
			n++
		}
	}
	return n
}

// What a unit refuses costs the link an extra request only from time to time. It is read again once
// the unit has it, in one block with its neighbours.
func TestWhatIsRefusedRests(t *testing.T) {
	for name, tc := range map[string]struct {
		points   int
		has      [][2]int // ranges of registers: first and number
		requests int64    // per scan, once the refused registers are known
		back     int      // scans until everything is read again, once the registers exist
	}{
		"three holes":          {100, [][2]int{{0, 10}, {11, 39}, {52, 48}}, 11, 400},
		"nearly all":           {200, [][2]int{{0, 3}}, 2, 10_000},
		"all, while it starts": {200, nil, 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				d := sim.NewDevice(7)
				well := 0
				for _, run := range tc.has {
					d.Put(sim.HoldingRegisters, uint16(run[0]), make([]uint16, run[1])...)
					well += run[1]
				}
				r := piped(t, d)
				noFault(t, r)
				data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
				r.Start(unitPath, modbusunit.Kind, registers(tc.points))
				for range 20 {
					actorstest.Next(t, data)
				}
				const scans = 300
				before := d.Counters().Requests
				for range scans {
					if s := actorstest.Next(t, data); wellOf(s) != well {
						t.Fatalf("%d of %d are good", wellOf(s), well)
					}
				}
				// Tries come after 1, 2, 4 … 60 seconds.
				if n := d.Counters().Requests - before; n > scans*tc.requests+12 {
					t.Errorf("%d requests for %d scans", n, scans)
				}
				d.Put(sim.HoldingRegisters, 0, make([]uint16, tc.points)...)
				n := 0
				for all := false; !all; all = wellOf(actorstest.Next(t, data)) == tc.points {
					if n++; n > tc.back {
						t.Fatalf("not read again after %d scans", n)
					}
				}
				actorstest.Next(t, data)
				before = d.Counters().Requests
				for range 10 {
					actorstest.Next(t, data)
				}
				if n, least := d.Counters().Requests-before, int64(tc.points+124)/125*10; n > least+1 {
					t.Errorf("%d requests for 10 scans, of %d", n, least)
				}
			})
		})
	}
}

// After a silence, a unit with a hole is read as well as before, and its holes are found again.
func TestHolesAfterSilence(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := sim.NewDevice(7)
		d.Put(sim.HoldingRegisters, 0, 0, 1, 2, 3)
		d.Put(sim.HoldingRegisters, 5, 5, 6)
		r := piped(t, d)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		r.Start(unitPath, modbusunit.Kind, registers(7))
		six := func(s *samplev1.Samples) bool { return wellOf(s) == 6 }
		actorstest.NextWhere(t, data, six)
		d.Behave(sim.Behaviour{Silent: true})
		time.Sleep(10 * time.Minute)
		d.Behave(sim.Behaviour{})
		actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return wellOf(s) == 0 })
		actorstest.NextWhere(t, data, six)
	})
}
