package modbusunit_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusunit"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const wallPath = "field/firewall"

// guarded is a unit behind a firewall.
func guarded(t *testing.T, r *actorstest.Rig, rules ...*modbusv1.FirewallRule) (*actors.Cell, <-chan *modbusv1.Audited) {
	t.Helper()
	audit := actorstest.Watch(r, "event/field/plant/meter/audited", &modbusv1.Audited{})
	if len(rules) > 0 {
		r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: rules})
	}
	cfg := config()
	cfg.Points, cfg.Firewall = cfg.Points[3:4], wallPath
	return r.Start(unitPath, modbusunit.Kind, cfg), audit
}

func writing(at uint32, values ...uint32) *modbusv1.WriteRegistersRequest {
	return &modbusv1.WriteRegistersRequest{Address: proto.Uint32(at), Values: values}
}

func TestTheFirewallDecides(t *testing.T) {
	d := meter(7)
	r := plant(t, d)
	noFault(t, r)
	_, audit := guarded(t, r,
		&modbusv1.FirewallRule{Name: "shown", Action: "swallow", Addresses: []string{"70"}},
		&modbusv1.FirewallRule{Name: "sure", Action: "allow+verify", Addresses: []string{"50-59"}, Values: []string{"0-100"}},
		&modbusv1.FirewallRule{Name: "free", Action: "allow", Addresses: []string{"80-89"}},
		&modbusv1.FirewallRule{Name: "bit", Action: "allow+verify", Functions: []string{"22"}},
		&modbusv1.FirewallRule{Name: "coil", Action: "allow+verify", Functions: []string{"5", "15"}},
		&modbusv1.FirewallRule{Name: "gone", Action: "allow+verify", Addresses: []string{"5000"}},
		&modbusv1.FirewallRule{Name: "refused", Action: "allow", Addresses: []string{"6000"}},
		&modbusv1.FirewallRule{Name: "secret", Action: "deny", Addresses: []string{"60"}},
		&modbusv1.FirewallRule{Name: "file", Action: "allow+verify", Functions: []string{"21"}},
	)
	u := func(v ...uint32) []uint32 { return v }
	for _, x := range []struct {
		name, method string
		req          proto.Message
		err          string
		want         *modbusv1.Audited
		holds        int // value at the address afterwards; -1: the device has no such register
	}{
		{"allowed", "WriteRegisters", writing(80, 1, 2), "", &modbusv1.Audited{Function: 16, Address: proto.Uint32(80), Values: u(1, 2), Outcome: "done", Rule: "free"}, 1},
		{"verified", "WriteRegisters", writing(50, 99), "", &modbusv1.Audited{Function: 6, Address: proto.Uint32(50), Values: u(99), Outcome: "verified", Rule: "sure", Before: u(50), After: u(99)}, 99},
		{"denied", "WriteRegisters", writing(50, 101), "permission_denied: unit 7: exception 1: illegal function: no rule allows it", &modbusv1.Audited{Function: 6, Address: proto.Uint32(50), Values: u(101), Outcome: "denied"}, 99},
		{"swallowed", "WriteRegisters", writing(70, 1), "", &modbusv1.Audited{Function: 6, Address: proto.Uint32(70), Values: u(1), Outcome: "swallowed", Rule: "shown"}, 70},
		{"mask", "WritePoint", &modbusv1.WritePointRequest{Point: "mode", Value: &modbusv1.WritePointRequest_Flag{}}, "",
			&modbusv1.Audited{Function: 22, Address: proto.Uint32(3), Values: u(0xfffd, 0), Outcome: "verified", Rule: "bit", Before: u(3), After: u(1)}, 1},
		{"coils", "WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(4), Values: []bool{false, true}}, "",
			&modbusv1.Audited{Function: 15, Address: proto.Uint32(4), Values: u(0, 1), Outcome: "verified", Rule: "coil", Before: u(1, 0), After: u(0, 1)}, -1},
		{"not to be read", "WriteRegisters", writing(5000, 1), "failed_precondition: unit 7: not sent: rule gone requires a read-back, but the registers cannot be read: exception 2",
			&modbusv1.Audited{Function: 6, Address: proto.Uint32(5000), Values: u(1), Outcome: "failed", Rule: "gone"}, -1},
		{"refused by the unit", "WriteRegisters", writing(6000, 1), "failed_precondition: unit 7: exception 2",
			&modbusv1.Audited{Function: 6, Address: proto.Uint32(6000), Values: u(1), Outcome: "refused", Rule: "refused"}, -1},
	} {
		_, err := call(r, x.method, x.req, &modbusv1.WriteRegistersResponse{})
		if err != nil && (x.err == "" || !strings.HasPrefix(err.Error(), x.err)) || err == nil && x.err != "" {
			t.Errorf("%s: %v, want %q", x.name, err, x.err)
		}
		got := actorstest.Next(t, audit)
		if (got.Cause != "") != (x.err != "") || len(got.Trace) != 32 || got.Caller != "local" || got.Time == nil || got.Took == nil {
			t.Errorf("%s: %v", x.name, got)
		}
		if (len(got.Frames) > 0) != (got.Outcome == "failed") {
			t.Errorf("%s: with %d frames", x.name, len(got.Frames))
		}
		got.Time, got.Took, got.Trace, got.Caller, got.Cause, got.Framing, got.Frames = nil, nil, "", "", "", "", nil
		if !proto.Equal(got, x.want) {
			t.Errorf("%s: audited %v, want %v", x.name, got, x.want)
		}
		if v, _ := d.Get(sim.HoldingRegisters, uint16(x.want.GetAddress()), 1); x.holds >= 0 && int(v[0]) != x.holds {
			t.Errorf("%s: the device holds %d, want %d", x.name, v[0], x.holds)
		}
	}
	_, err := call(r, "WriteRegisters", writing(50, 101), &modbusv1.WriteRegistersResponse{})
	refused(t, err, `{"unit":7}`)
	_, err = call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 60}, &modbusv1.ReadRegistersResponse{})
	if want := "permission_denied: unit 7: exception 1: illegal function: denied by rule secret"; err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
	refused(t, err, `{"unit":7,"rule":"secret"}`)
	_, err = call(r, "WriteFileRecords", &modbusv1.WriteFileRecordsRequest{Records: []*modbusv1.FileRecords{{File: 4, Record: proto.Uint32(0), Values: u(1)}}}, &modbusv1.WriteFileRecordsResponse{})
	refused(t, err, `{"unit":7,"rule":"file"}`)
	if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 90}, &modbusv1.ReadRegistersResponse{}); err == nil || bus.AsError(err).Code != bus.PermissionDenied {
		t.Errorf("a read that no rule allows: %v", err)
	}
	if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 80}, &modbusv1.ReadRegistersResponse{}); err != nil {
		t.Errorf("a read that a rule allows: %v", err)
	}
}

// A device that confirms a write but does something else is detected.
func TestAWriteThatReadsBackAsSomethingElse(t *testing.T) {
	for name, x := range map[string]struct {
		reads   []uint16 // values of the register at each read; none: no answer
		outcome string
		err     string
	}{
		"clamped":    {[]uint16{5, 50}, "different", "failed_precondition: unit 7: the write was confirmed, but 9+1 reads back as [50] where [99] was written"},
		"unreadable": {[]uint16{5}, "unverified", "failed_precondition: unit 7: the write was confirmed, but could not be read back: "},
		"true":       {[]uint16{5, 99}, "verified", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			reads := x.reads
			r.Peer(linkPath, func(msg any) any {
				ask := msg.(*dispatch.Ask)
				a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, len(ask.Requests))}
				if ask.Requests[0].Function == modbus.ReadHoldingRegisters && ask.Class != 2 {
					if len(reads) == 0 {
						a.Results[0].Err = modbus.ErrTimeout
						return a
					}
					a.Results[0].Data = []byte{byte(reads[0] >> 8), byte(reads[0])}
					reads = reads[1:]
				}
				return a
			})
			audit := actorstest.Watch(r, "event/#", &modbusv1.Audited{})
			r.Start(wallPath, modbusfirewall.Kind, &modbusv1.Firewall{Rules: []*modbusv1.FirewallRule{{Name: "all", Action: "allow+verify"}}})
			cfg := config()
			cfg.Points, cfg.Firewall = nil, wallPath
			r.Start(unitPath, modbusunit.Kind, cfg)
			_, err := call(r, "WriteRegisters", writing(9, 99), &modbusv1.WriteRegistersResponse{})
			if (err == nil) != (x.err == "") || err != nil && !strings.HasPrefix(err.Error(), x.err) {
				t.Errorf("%v, want %s", err, x.err)
			}
			if got := actorstest.Next(t, audit); got.Outcome != x.outcome || !slices.Equal(got.Before, []uint32{5}) {
				t.Errorf("audited %v", got)
			}
		})
	}
}

// While its firewall is away, a unit polls but accepts no calls.
func TestWithoutItsFirewallNothingPasses(t *testing.T) {
	d := meter(7)
	r := plant(t, d)
	noFault(t, r)
	cell, audit := guarded(t, r)
	r.Until("polled", func() bool { return cell.State() == actors.OK })
	writes := d.Counters().Writes
	_, err := call(r, "WriteRegisters", writing(80, 1), &modbusv1.WriteRegistersResponse{})
	if err == nil || !strings.HasPrefix(err.Error(), "unavailable: unit 7: not sent: the firewall does not answer: ") {
		t.Error(err)
	}
	if got := actorstest.Next(t, audit); got.Outcome != "failed" || got.Cause == "" || d.Counters().Writes != writes {
		t.Errorf("audited %v after %d writes", got, d.Counters().Writes-writes)
	}
	if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{}); err == nil {
		t.Error("a read passed")
	}
}

// The identity of a caller is kept through every actor that acts on its behalf.
func TestCallersAreNamed(t *testing.T) {
	r := plant(t, meter(7))
	noFault(t, r)
	_, audit := guarded(t, r, &modbusv1.FirewallRule{Name: "all", Action: "allow", Callers: []string{"mqtt/*"}})
	trace := actors.NewTrace()
	proxy := actors.Define(actors.Kind{Name: "proxy", Doc: "asks for others"}, func(*structpb.Struct) actors.Actor {
		return proxy{as: actors.Caller{Identity: "mqtt/panel", Trace: trace}}
	})
	r.Start("edge/proxy", proxy, &structpb.Struct{})
	for _, x := range []struct{ how, caller, trace, outcome string }{
		{"ask as", "mqtt/panel", trace, "done"}, {"call as", "mqtt/panel", trace, "done"},
		{"ask", "actor/edge/proxy", "", "denied"}, {"call", "actor/edge/proxy", "", "denied"},
	} {
		r.System.Ask("edge/proxy", x.how, func(any, error) {})
		got := actorstest.Next(t, audit)
		if got.Caller != x.caller || x.trace != "" && got.Trace != x.trace || got.Outcome != x.outcome {
			t.Errorf("%s: audited %v", x.how, got)
		}
	}
	// What another actor asks while serving a caller is asked on behalf of that caller.
	r.System.Ask("edge/proxy", "relay", func(any, error) {})
	if got := actorstest.Next(t, audit); got.Caller != "local" || got.Outcome != "denied" {
		t.Errorf("relayed: audited %v", got)
	}
}

type proxy struct{ as actors.Caller }

func (p proxy) Receive(c *actors.Context, msg any) error {
	how, ok := msg.(string)
	if !ok {
		return nil
	}
	mine := !strings.HasPrefix(how, "relay")
	if mine && c.Request() != nil { // outside a request it acts on its own behalf
		if err := c.Post()(how); err != nil {
			return err
		}
		c.Reply(nil)
		return nil
	}
	if strings.HasSuffix(how, " as") {
		c = c.As(p.as)
	}
	if strings.HasPrefix(how, "call") {
		c.Call("cmd/"+unitPath+"/WriteRegisters", bus.JSON, []byte(`{"address": 1, "values": [1]}`), actorstest.Patience, nil)
		return nil
	}
	c.Ask(unitPath, writing(1, 1), actorstest.Patience)
	return nil
}

// A write that is under way when its actor ends is audited.
func TestAStoppedActorAuditsWhatItDoesNotKnow(t *testing.T) {
	r := actorstest.New(t)
	noFault(t, r)
	asked := make(chan struct{}, 8)
	r.Peer(linkPath, func(any) any { asked <- struct{}{}; return nil })
	audit := actorstest.Watch(r, "event/#", &modbusv1.Audited{})
	cfg := config()
	cfg.Points = nil
	cell := r.Start(unitPath, modbusunit.Kind, cfg)
	r.System.Ask(unitPath, writing(1, 1), func(any, error) {})
	actorstest.Next(t, asked)
	r.Stop(cell)
	if got := actorstest.Next(t, audit); got.Outcome != "unsure" || got.Caller != "local" {
		t.Errorf("audited %v", got)
	}
}
