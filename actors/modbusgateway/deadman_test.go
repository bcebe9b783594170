package modbusgateway_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// A controller that reaches units directly through their link is supervised too. When it falls
// silent, the units are made safe, whether an actor polls them or not, and it may write to neither
// until the group is released.
func TestADeadManHoldsStraightThroughALink(t *testing.T) {
	r := actorstest.New(t)
	polled, alone := device(9, 0), device(10, 0)
	plc(t, r, polled, alone)
	events := actorstest.Watch(r, "event/"+wallPath+"/dead-man", &modbusv1.DeadManChanged{})
	safe := actorstest.Watch(r, "event/"+wallPath+"/audited", &modbusv1.Audited{})
	recalled := actorstest.Watch(r, "state/"+wallPath+"/dead-man", &modbusv1.DeadManState{})
	const unitPath = "field/plc/boiler"
	r.Start(unitPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 9, Firewall: wallPath})
	cfg := &modbusv1.Firewall{
		Otherwise: "allow",
		DeadMan:   []*modbusv1.DeadMan{{Name: "controller", Silence: ms(3_600_000), Callers: []string{"master/127.0.0.1"}}},
		SafeWrites: []*modbusv1.SafeWrite{
			{Group: "controller", Unit: unitPath, Address: 100, Values: []uint32{1}},
			{Group: "controller", Link: linkPath, At: unit(10), Address: 100, Values: []uint32{2}},
		},
	}
	wall := r.Start(wallPath, modbusfirewall.Kind, cfg)
	actorstest.Next(t, recalled) // until then it denies all writes
	patience := func(d int) {
		cfg = proto.CloneOf(cfg)
		cfg.DeadMan[0].Silence = ms(d)
		wall.Reconfigure(cfg)
	}
	port := begin(t, r, &modbusv1.Gateway{Firewall: wallPath, Routes: []*modbusv1.Route{{First: 9, Last: unit(11), Link: linkPath, Timeout: ms(10000)}}})
	l := master(t, port, modbus.TCP)
	for _, u := range []uint8{9, 10} {
		expect(t, l, write(u, 100, 77), 0, 0)
	}
	patience(100)
	for _, want := range []string{"tripped", "safe"} {
		if e := actorstest.Next(t, events); e.State != want {
			t.Fatalf("%v, want %s", e, want)
		}
	}
	for d, want := range map[*sim.Device]uint16{polled: 1, alone: 2} {
		if v, _ := d.Get(sim.HoldingRegisters, 100, 1); v[0] != want {
			t.Errorf("a unit holds %d, want %d", v[0], want)
		}
	}
	if a := actorstest.Next(t, safe); a.Caller != "actor/"+wallPath || a.Unit != linkPath+"/10" || a.Outcome != "done" || len(a.Trace) != 32 {
		t.Errorf("audited %v", a)
	}
	for _, u := range []uint8{9, 10} {
		expect(t, l, write(u, 100, 77), modbus.IllegalFunction, 0)
		expect(t, l, read(u, 100, 1), 0, uint16(u)-8)
	}
	patience(3_600_000)
	if _, err := actorstest.Call(r, wallPath, "Release", &modbusv1.ReleaseRequest{Group: "controller"}, &modbusv1.ReleaseResponse{}); err != nil {
		t.Fatal(err)
	}
	expect(t, l, write(10, 100, 77), 0, 0)
}
