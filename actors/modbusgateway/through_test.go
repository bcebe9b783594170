package modbusgateway_test

import (
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const (
	meterPath = "field/plc/meter"
	wallPath  = "field/firewall"
)

// The firewall of a unit judges requests of masters by their address, and every write is audited.
func TestAGuardedUnit(t *testing.T) {
	r := actorstest.New(t)
	d := device(9, 0)
	plc(t, r, d)
	wall := r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: []*modbusv1.FirewallRule{
		{Name: "monitor", Action: "allow", Functions: []string{"read"}},
		{Name: "setpoint", Action: "allow+verify", Callers: []string{"master/127.0.0.1"}, Units: []string{meterPath}, Addresses: []string{"100"}, Values: []string{"0-50"}},
		{Name: "insists", Action: "swallow", Callers: []string{"master/*"}, Addresses: []string{"150"}},
		{Name: "others", Action: "allow", Callers: []string{"master/192.0.2.1"}},
	}})
	r.Start(meterPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 9, Every: ms(1000), Timeout: ms(300), Firewall: wallPath})
	audit := actorstest.Watch(r, "event/"+meterPath+"/audited", &modbusv1.Audited{})
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{{First: 3, To: meterPath}}})
	l := master(t, port, modbus.TCP)

	expect(t, l, read(3, 10, 5), 0, 10)
	expect(t, l, read(3, 5000, 1), modbus.IllegalAddress, 0)
	for _, x := range []struct {
		address uint16
		value   byte
		code    uint8
		outcome string
		holds   uint16
	}{
		{100, 42, 0, "verified", 42},
		{100, 51, modbus.IllegalFunction, "denied", 42},
		{101, 1, modbus.IllegalFunction, "denied", 101},
		{150, 1, 0, "swallowed", 150},
	} {
		expect(t, l, write(3, x.address, x.value), x.code, 0)
		a := actorstest.Next(t, audit)
		if a.Outcome != x.outcome || a.Caller != "master/127.0.0.1" || len(a.Trace) != 32 {
			t.Errorf("%d: audited %v, want %s", x.address, a, x.outcome)
		}
		if v, _ := d.Get(sim.HoldingRegisters, x.address, 1); v[0] != x.holds {
			t.Errorf("register %d holds %d, want %d", x.address, v[0], x.holds)
		}
	}
	if n := traffic(t, r); n.Forbidden != 2 || n.Cached != 0 || n.Shared != 0 {
		t.Errorf("traffic %v", n)
	}

	d.Behave(sim.Behaviour{Silent: true})
	expect(t, l, read(3, 10, 1), modbus.GatewayTarget, 0)
	d.Behave(sim.Behaviour{})
	r.Stop(wall)
	expect(t, l, write(3, 100, 7), modbus.GatewayPath, 0)
	expect(t, l, read(3, 10, 1), modbus.GatewayPath, 0)
	if v, _ := d.Get(sim.HoldingRegisters, 100, 1); v[0] != 42 {
		t.Error("written although no firewall was there")
	}
}

func TestRoutesToUnitsThatCannotBe(t *testing.T) {
	for want, route := range map[string]*modbusv1.Route{
		"set either link or to":                            {First: 1},
		"either link or to":                                {First: 1, Link: linkPath, To: meterPath},
		"neither last nor unit":                            {First: 1, Last: unit(2), To: meterPath},
		"the firewall of the unit decides":                 {First: 1, To: meterPath, Mode: "read-only"},
		"from 1 to 255":                                    {First: 0, To: meterPath},
		"cache, rest and rest-after-write are not allowed": {First: 1, To: meterPath, Cache: ms(100)},
		"with its own address: set first":                  {First: 1, To: meterPath, Unit: unit(4)},
	} {
		r := actorstest.New(t).Once()
		r.Start(path, modbusgateway.Kind, &modbusv1.Gateway{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:0"}}, Routes: []*modbusv1.Route{route}})
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("%v, want %s", f, want)
		}
	}
}
