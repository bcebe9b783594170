package modbusunit_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// inverter is a device with a scale factor, a state and an alarm field.
func inverter() (*sim.Device, *modbusv1.Unit) {
	d := sim.NewDevice(7)
	d.Put(sim.HoldingRegisters, 0, 587, 1, 2, 0b101, 230)
	return d, &modbusv1.Unit{
		Link: linkPath, Unit: 7, Every: ms(50), Timeout: ms(2000), MaxBackoff: ms(400),
		Points: []*modbusv1.Point{
			{Name: "power", Address: 0, Type: "int16", ScaleFrom: "sf"},
			{Name: "sf", Address: 1, Type: "int16", Absent: []string{"0x8000=not implemented"}},
			{Name: "state", Address: 2, Labels: []string{"2=running"}},
			{Name: "alarms", Address: 3, Flags: []string{"0=fan"}},
			{Name: "u-l1", Address: 4, Type: "uint16"},
		},
		Derived: []*modbusv1.Derived{
			{Name: "share", Expression: "current / 10", Decimals: new(uint32(2))},
			{Name: "current", Expression: `power / "u-l1"`},
			{Name: "on", Expression: "state == 2 && power > 0"},
		},
	}
}

func TestValuesMadeFromOthers(t *testing.T) {
	d, cfg := inverter()
	r := plant(t, d)
	noFault(t, r)
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	r.Start(unitPath, modbusunit.Kind, cfg)
	s := actorstest.NextWhere(t, data, good)
	for point, want := range map[string]float64{"power": 5870, "sf": 1, "current": 5870.0 / 230, "share": 2.55} {
		if got := sampleOf(s, point).GetNumber(); got != want {
			t.Errorf("%s is %v, want %v", point, got, want)
		}
	}
	if !sampleOf(s, "on").GetFlag() || sampleOf(s, "state").Label != "running" || sampleOf(s, "alarms").Label != "fan, bit 2" {
		t.Errorf("got %v", s)
	}
	if _, err := call(r, "WritePoint", &modbusv1.WritePointRequest{Point: "power", Value: &modbusv1.WritePointRequest_Number{Number: 6000}}, &modbusv1.WritePointResponse{}); err != nil {
		t.Fatal(err)
	}
	if v, _ := d.Get(sim.HoldingRegisters, 0, 1); v[0] != 600 {
		t.Errorf("6000 W was written as %d", v[0])
	}
	if _, err := call(r, "WritePoint", &modbusv1.WritePointRequest{Point: "on", Value: &modbusv1.WritePointRequest_Flag{Flag: true}}, &modbusv1.WritePointResponse{}); err == nil {
		t.Error("a computed point was written")
	}

	d.Put(sim.HoldingRegisters, 4, 0)
	s = actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return sampleOf(s, "current").Quality != "" })
	if c := sampleOf(s, "current"); c.Quality != "bad" || c.Cause != "division by zero: the device gives no value" {
		t.Errorf("got %v", c)
	}
	if c := sampleOf(s, "share"); c.Quality != "bad" || c.Cause != "current: division by zero: the device gives no value" {
		t.Errorf("got %v", c)
	}
	d.Put(sim.HoldingRegisters, 1, 0x8000)
	s = actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return sampleOf(s, "power").Quality != "" })
	if c := sampleOf(s, "power"); c.Quality != "bad" || c.GetNumber() != 6000 {
		t.Errorf("got %v", c)
	}
}

func TestReportsChanges(t *testing.T) {
	virtually(t, func(t *testing.T) {
		d := sim.NewDevice(7)
		d.Put(sim.HoldingRegisters, 0, 100, 100, 1)
		r := piped(t, d)
		noFault(t, r)
		data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
		r.Start(unitPath, modbusunit.Kind, &modbusv1.Unit{
			Link: linkPath, Unit: 7, Every: ms(20), Timeout: ms(2000), MaxBackoff: ms(400), Report: &modbusv1.Report{On: "change"},
			Points: []*modbusv1.Point{
				{Name: "wide", Address: 0, Type: "uint16", Report: &modbusv1.Report{On: "change", DeadbandPercent: 10}},
				{Name: "exact", Address: 1, Type: "uint16"},
				{Name: "beat", Address: 2, Type: "uint16", Report: &modbusv1.Report{On: "change", Heartbeat: durationpb.New(100 * time.Millisecond)}},
			},
		})
		first := actorstest.Next(t, data)
		if len(first.Samples) != 3 || first.Sequence != 1 {
			t.Fatalf("got %v", first)
		}
		for range 3 {
			if s := actorstest.Next(t, data); len(s.Samples) != 1 || s.Samples[0].Point != "beat" {
				t.Fatalf("got %v", s)
			}
		}
		d.Put(sim.HoldingRegisters, 0, 110, 101)
		s := actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return sampleOf(s, "exact").GetNumber() == 101 })
		if sampleOf(s, "wide").Point != "" {
			t.Errorf("got %v", s)
		}
		d.Put(sim.HoldingRegisters, 0, 111)
		actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return sampleOf(s, "wide").GetNumber() == 111 })

		// A unit that stays silent is reported once, not at each probe.
		d.Behave(sim.Behaviour{Silent: true})
		actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool { return strings.HasPrefix(sampleOf(s, "exact").Cause, "quarantined") })
		for probes := d.Counters().Requests; d.Counters().Requests < probes+4; {
			if s := actorstest.Next(t, data); len(s.Samples) != 1 || s.Samples[0].Point != "beat" {
				t.Fatalf("got %v", s)
			}
		}
		d.Behave(sim.Behaviour{})
		actorstest.NextWhere(t, data, func(s *samplev1.Samples) bool {
			return sampleOf(s, "exact").GetNumber() == 101 && sampleOf(s, "exact").Quality == ""
		})
	})
}
