package modbusgateway_test

import (
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// audits returns the audit events of the gateway.
func audits(r *actorstest.Rig) <-chan *modbusv1.Audited {
	return actorstest.Watch(r, "event/"+path+"/audited", &modbusv1.Audited{})
}

func expectAudit(t *testing.T, audit <-chan *modbusv1.Audited, unit, outcome string) *modbusv1.Audited {
	t.Helper()
	a := actorstest.Next(t, audit)
	if a.Outcome != outcome || a.Unit != unit || a.Caller != "master/127.0.0.1" || len(a.Trace) != 32 || a.Time == nil || a.Took == nil {
		t.Errorf("audited %v, want %s of %s", a, outcome, unit)
	}
	return a
}

// Requests for units directly behind a line or link are judged by a firewall as well, and every
// write is audited.
func TestAGuardedLink(t *testing.T) {
	r := actorstest.New(t)
	d := device(9, 0)
	plc(t, r, d)
	wall := r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: []*modbusv1.FirewallRule{
		{Name: "monitor", Action: "allow", Functions: []string{"read"}, Addresses: []string{"0-199", "5000"}},
		{Name: "setpoint", Action: "allow+verify", Callers: []string{"master/127.0.0.1"}, Units: []string{linkPath + "/9"}, Addresses: []string{"100"}, Values: []string{"0-50"}},
		{Name: "gone", Action: "allow+verify", Addresses: []string{"5000"}},
		{Name: "insists", Action: "swallow", Addresses: []string{"150"}},
		{Name: "free", Action: "allow", Addresses: []string{"160-170"}},
		{Name: "others", Action: "allow", Callers: []string{"master/192.0.2.1"}},
		{Name: "another", Action: "allow", Units: []string{linkPath + "/3"}},
	}})
	audit := audits(r)
	port := begin(t, r, &modbusv1.Gateway{Firewall: wallPath, Routes: []*modbusv1.Route{{First: 3, Link: linkPath, Unit: unit(9), Cache: ms(60000), Timeout: ms(10000)}}})
	l := master(t, port, modbus.TCP)
	expect(t, l, read(3, 100, 1), 0, 100)
	expect(t, l, read(3, 100, 1), 0, 100) // from the cache; reads are not audited
	expect(t, l, read(3, 198, 5), modbus.IllegalFunction, 0)
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
		{160, 7, 0, "done", 7},
	} {
		expect(t, l, write(3, x.address, x.value), x.code, 0)
		expectAudit(t, audit, linkPath+"/9", x.outcome)
		if v, _ := d.Get(sim.HoldingRegisters, x.address, 1); v[0] != x.holds {
			t.Errorf("register %d holds %d, want %d", x.address, v[0], x.holds)
		}
	}
	expect(t, l, read(3, 100, 1), 0, 42)
	expect(t, l, write(3, 5000, 1), modbus.DeviceFailure, 0)
	if a := expectAudit(t, audit, linkPath+"/9", "failed"); a.Rule != "gone" || a.Cause == "" {
		t.Errorf("audited %v", a)
	}
	if n := traffic(t, r); n.Forbidden != 3 || n.Cached != 1 {
		t.Errorf("traffic %v", n)
	}
	r.Stop(wall)
	expect(t, l, write(3, 100, 7), modbus.GatewayPath, 0)
	expectAudit(t, audit, linkPath+"/9", "failed")
	expect(t, l, read(3, 10, 1), modbus.GatewayPath, 0)
	if v, _ := d.Get(sim.HoldingRegisters, 100, 1); v[0] != 42 {
		t.Error("written although no firewall was there")
	}
}

// A write that is confirmed but cannot be read back is neither a success nor reported as a unit
// that was not reached, both directly behind a link and through a unit.
func TestAWriteThatCannotBeReadBack(t *testing.T) {
	for name, route := range map[string]*modbusv1.Route{"link": {First: 9, Link: linkPath}, "unit": {First: 9, To: meterPath}} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			written := false
			r.Peer(linkPath, func(msg any) any {
				ask := msg.(*dispatch.Ask)
				a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, 1)}
				switch {
				case ask.Requests[0].Write():
					written = true
				case written:
					a.Results[0].Err, a.Results[0].Outcome = modbus.ErrTimeout, schedule.NoAnswer
				default:
					a.Results[0].Data = make([]byte, 2*ask.Requests[0].Quantity)
				}
				return a
			})
			audit := actorstest.Watch(r, "event/#", &modbusv1.Audited{})
			r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: []*modbusv1.FirewallRule{{Name: "all", Action: "allow+verify"}}})
			r.Start(meterPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 9, Firewall: wallPath})
			l := master(t, begin(t, r, &modbusv1.Gateway{Firewall: wallPath, Routes: []*modbusv1.Route{route}}), modbus.TCP)
			expect(t, l, write(9, 1, 5), modbus.DeviceFailure, 0)
			if a := actorstest.Next(t, audit); a.Outcome != "unverified" {
				t.Errorf("audited %v", a)
			}
		})
	}
}

// Writes that the mode of a route refuses or swallows are audited too, and a flood of them is
// combined into few events.
func TestRefusedWritesAreAudited(t *testing.T) {
	r := actorstest.New(t)
	plc(t, r, device(7, 0))
	audit := audits(r)
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{
		{First: 1, Link: linkPath, Unit: unit(7), Mode: "read-only"},
		{First: 2, Link: linkPath, Unit: unit(7), Mode: "swallow"},
		{First: 3, Link: linkPath, Unit: unit(7), Mode: "deny"},
		{First: 7, Link: linkPath, Timeout: ms(10000)},
		{First: 8, Link: linkPath, Timeout: ms(50)},
	}})
	l := master(t, port, modbus.TCP)
	expect(t, l, write(7, 5, 6), 0, 0)
	if a := expectAudit(t, audit, linkPath+"/7", "done"); a.Function != 6 || a.GetAddress() != 5 || len(a.Values) != 1 || a.Values[0] != 6 {
		t.Errorf("audited %v", a)
	}
	expect(t, l, write(7, 5000, 6), modbus.IllegalAddress, 0)
	expectAudit(t, audit, linkPath+"/7", "refused")
	expect(t, l, write(8, 5, 6), modbus.GatewayTarget, 0)
	expectAudit(t, audit, linkPath+"/8", "unsure")
	expect(t, l, read(3, 1, 1), modbus.IllegalFunction, 0)
	expect(t, l, write(2, 1, 5), 0, 0)
	expectAudit(t, audit, linkPath+"/7", "swallowed")
	expect(t, l, write(3, 1, 5), modbus.IllegalFunction, 0)
	expectAudit(t, audit, linkPath+"/7", "denied")
	const flood = 5000
	for range flood {
		expect(t, l, write(1, 1, 5), modbus.IllegalFunction, 0)
	}
	events, told := 0, 0
	for told < flood {
		a := expectAudit(t, audit, linkPath+"/7", "denied")
		if a.Cause != "the mode of the route is read-only" {
			t.Errorf("audited %v", a)
		}
		events, told = events+1, told+1+int(a.More)
	}
	if told != flood || events > flood/10 {
		t.Errorf("%d events tell of %d refusals, want few and %d", events, told, flood)
	}
}

// A gateway whose configured firewall does not run lets nothing through.
func TestAFirewallThatIsNotThere(t *testing.T) {
	r := actorstest.New(t)
	plc(t, r, device(7, 0))
	cell := r.Start(path, modbusgateway.Kind, &modbusv1.Gateway{
		Firewall: wallPath, Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + freeport.Port(t)}}, Routes: []*modbusv1.Route{{First: 7, Link: linkPath}},
	})
	r.Until("listening", func() bool { return cell.State() == actors.OK })
	l := master(t, cell.Config().(*modbusv1.Gateway).Tcp[0].Listen[len("127.0.0.1:"):], modbus.TCP)
	expect(t, l, read(7, 1, 1), modbus.GatewayPath, 0)
	expect(t, l, write(7, 1, 1), modbus.GatewayPath, 0)
}
