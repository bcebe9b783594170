package modbusfirewall_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

const boiler = "field/plc/boiler"

// guarded returns a firewall that allows everything and supervises two controllers.
func guarded(silence time.Duration) *modbusv1.Firewall {
	return &modbusv1.Firewall{
		Otherwise: "allow",
		DeadMan: []*modbusv1.DeadMan{
			{Name: "boiler", Silence: durationpb.New(silence), Callers: []string{"mqtt/*"}},
			{Name: "pump", Silence: durationpb.New(time.Hour), Unit: "field/plc/pump", Point: "beat"},
		},
		SafeWrites: []*modbusv1.SafeWrite{
			{Group: "boiler", Unit: boiler, Address: 100, Values: []uint32{200, 0}},
			{Group: "boiler", Unit: boiler, Area: "coil", Address: 7, Values: []uint32{0}},
		},
	}
}

// plant is a firewall and a unit that records its requests, in virtual time.
type plant struct {
	*actorstest.Rig
	t      *testing.T
	bus    *actorstest.Recorder
	broken atomic.Bool
	seen   int

	mu    sync.Mutex
	wrote []string
}

func virtual(t *testing.T, cfg *modbusv1.Firewall, test func(p *plant)) {
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute); synctest.Wait() }) // runs after all other cleanups: lets started timers expire
		r, b := actorstest.NewVirtual(t)
		p := &plant{Rig: r, t: t, bus: b}
		r.Peer(boiler, func(msg any) any {
			m, ok := msg.(*dispatch.Transact)
			if !ok {
				return dispatch.Place{Unit: boiler, Link: "field/plc/link", Address: 9}
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.wrote = append(p.wrote, m.Request.String())
			res := dispatch.Result{}
			if p.broken.Load() {
				res.Err = modbus.ErrTimeout
			}
			return &dispatch.Transacted{Of: m, Result: res}
		})
		r.Start(path, modbusfirewall.Kind, cfg)
		synctest.Wait()
		test(p)
	})
}

// written returns the writes that the unit has been asked for.
func (p *plant) written() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.wrote)
}

func (p *plant) pass(d time.Duration) {
	time.Sleep(d) // virtual time
	synctest.Wait()
}

// ask returns the firewall's verdict on a read or write of a caller.
func (p *plant) ask(who string, function uint8) firewall.Verdict {
	p.t.Helper()
	r := modbus.Request{Function: function, Address: 1, Quantity: 1}
	if function == modbus.WriteSingleRegister {
		r.Data = []byte{0, 1}
	}
	var got firewall.Verdict
	p.System.Ask(path, &firewall.Question{Identity: who, Unit: boiler, Request: r}, func(msg any, err error) {
		if err == nil {
			got = msg.(*firewall.Judged).Verdict
		}
	})
	synctest.Wait()
	return got
}

func (p *plant) call(method string, req proto.Message) string {
	_, err := p.System.Call(p.t.Context(), path, method, req)
	synctest.Wait()
	if err == nil {
		return ""
	}
	return bus.AsError(err).Code
}

// news returns the events since the last call.
func (p *plant) news() string {
	var list []string
	all := p.bus.All()
	for _, m := range all[p.seen:] {
		if e, ok := m.Message.(*modbusv1.DeadManChanged); ok {
			list = append(list, e.Group+" "+e.State)
		}
	}
	p.seen = len(all)
	return strings.Join(list, ", ")
}

const (
	reading = modbus.ReadHoldingRegisters
	writing = modbus.WriteSingleRegister
)

func TestASilentControllerIsMadeSafeOnce(t *testing.T) {
	virtual(t, guarded(10*time.Second), func(p *plant) {
		for range 5 { // any request of the controller is a sign of life
			p.pass(9 * time.Second)
			p.ask("mqtt/controller", reading)
		}
		p.pass(9 * time.Second)
		p.ask("nats/operator", reading) // requests of others are not
		if got := p.news(); got != "" || len(p.written()) > 0 {
			t.Fatalf("before it is silent: %s, %v", got, p.written())
		}
		p.pass(time.Second)
		if got := p.news(); got != "boiler tripped, boiler safe" {
			t.Errorf("news: %s", got)
		}
		if want := "[unit 1: write registers 100+2 unit 1: write coil 7]"; fmt.Sprint(p.written()) != want {
			t.Errorf("wrote %v, want %s", p.written(), want)
		}
		if state := p.System.Lookup(path).Health(); state.State != actors.Degraded || state.Cause != "dead-man group boiler has tripped" {
			t.Error(state)
		}
		p.pass(time.Hour / 2)
		if v := p.ask("mqtt/controller", writing); v.Action != firewall.Deny || !strings.Contains(v.Why, "Release") {
			t.Errorf("a controller that is back writes: %+v", v)
		}
		if v := p.ask("mqtt/controller", reading); v.Action != firewall.Allow {
			t.Errorf("it reads: %+v", v)
		}
		if v := p.ask("nats/operator", writing); v.Action != firewall.Allow {
			t.Errorf("an operator writes: %+v", v)
		}
		if code := p.call("Heartbeat", &modbusv1.HeartbeatRequest{Group: "boiler"}); code != bus.PermissionDenied {
			t.Errorf("somebody else's heartbeat: %q", code)
		}
		if len(p.written()) != 2 || p.news() != "" {
			t.Errorf("written again: %v", p.written())
		}
		if code := p.call("Release", &modbusv1.ReleaseRequest{Group: "boiler"}); code != "" || p.news() != "boiler released" {
			t.Errorf("Release: %q", code)
		}
		if v := p.ask("mqtt/controller", writing); v.Action != firewall.Allow {
			t.Errorf("after the release: %+v", v)
		}
		p.pass(10 * time.Second)
		if got := p.news(); got != "boiler tripped, boiler safe" || len(p.written()) != 4 {
			t.Errorf("silent again: %s, %v", got, p.written())
		}
	})
}

// Masters that bypass the actor of the unit and reach it directly through its link are denied as
// well; other units behind the link are not affected.
func TestATrippedUnitIsKnownByItsPlace(t *testing.T) {
	virtual(t, guarded(10*time.Second), func(p *plant) {
		p.pass(10 * time.Second)
		for _, x := range []struct {
			unit, link string
			address    uint8
			want       firewall.Action
		}{
			{"field/plc/link/9", "field/plc/link", 9, firewall.Deny},
			{"field/plc/twin", "field/plc/link", 9, firewall.Deny},
			{"field/plc/link/8", "field/plc/link", 8, firewall.Allow},
			{"field/other/9", "field/other", 9, firewall.Allow},
		} {
			q := &firewall.Question{Identity: "mqtt/controller", Unit: x.unit, Link: x.link, Request: modbus.Request{Unit: x.address, Function: writing, Quantity: 1, Data: []byte{0, 1}}}
			p.System.Ask(path, q, func(msg any, err error) {
				if got := msg.(*firewall.Judged).Verdict; got.Action != x.want {
					t.Errorf("%s: %+v, want %s", x.unit, got, x.want)
				}
			})
			synctest.Wait()
		}
	})
}

// An unconfirmed safe write is repeated until it is confirmed or no longer wanted.
func TestSafeWritesAreDoneUntilConfirmed(t *testing.T) {
	virtual(t, guarded(10*time.Second), func(p *plant) {
		p.broken.Store(true)
		p.pass(10 * time.Second)
		if got := p.news(); got != "boiler tripped, boiler unsafe, boiler unsafe" {
			t.Errorf("news: %s", got)
		}
		p.pass(11 * time.Second)
		if len(p.written()) != 6 {
			t.Errorf("in 11 s wrote %v", p.written())
		}
		p.broken.Store(false)
		p.news()
		p.pass(5 * time.Second)
		if got := p.news(); got != "boiler safe" || len(p.written()) != 8 {
			t.Errorf("news: %s, wrote %v", got, p.written())
		}
		p.pass(time.Minute)
		if len(p.written()) != 8 {
			t.Errorf("written again: %v", p.written())
		}
	})
	virtual(t, guarded(10*time.Second), func(p *plant) {
		p.broken.Store(true)
		p.pass(10 * time.Second)
		p.call("Release", &modbusv1.ReleaseRequest{Group: "boiler"})
		n := len(p.written())
		p.pass(9 * time.Second)
		if len(p.written()) != n {
			t.Errorf("released, and still: %v", p.written())
		}
	})
}

func TestHeartbeats(t *testing.T) {
	cfg := guarded(10 * time.Second)
	cfg.DeadMan[0].Callers = nil
	virtual(t, cfg, func(p *plant) {
		for range 3 {
			p.pass(9 * time.Second)
			p.ask("mqtt/controller", reading) // not a sign of life
			if code := p.call("Heartbeat", &modbusv1.HeartbeatRequest{Group: "boiler"}); code != "" {
				t.Fatal(code)
			}
		}
		if got := p.news(); got != "" {
			t.Fatal(got)
		}
		p.pass(10 * time.Second)
		if got := p.news(); got != "boiler tripped, boiler safe" {
			t.Error(got)
		}
		if code := p.call("Heartbeat", &modbusv1.HeartbeatRequest{Group: "boiler"}); code != bus.FailedPrecondition {
			t.Error(code)
		}
		if v := p.ask("local", writing); v.Action != firewall.Deny {
			t.Errorf("where nobody is named all must wait: %+v", v)
		}
		if a, b := p.call("Heartbeat", &modbusv1.HeartbeatRequest{Group: "x"}), p.call("Release", &modbusv1.ReleaseRequest{Group: "x"}); a != bus.NotFound || b != bus.NotFound {
			t.Error(a, b)
		}
	})
}

// With the real bus: a point is a sign of life only when it changes, the safe state reaches a real
// unit through the unit's own firewall, and a tripped group stays tripped in the next life.
func TestOnTheRealBus(t *testing.T) {
	d := sim.NewDevice(1)
	d.Put(sim.HoldingRegisters, 100, 700, 1)
	d.Put(sim.Coils, 7, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sim.NewPlant(d).ServeTCP(ctx, l) }()
	t.Cleanup(func() { cancel(); l.Close(); <-done })

	r := actorstest.New(t)
	events := actorstest.Watch(r, "event/"+path+"/dead-man", &modbusv1.DeadManChanged{})
	audit := actorstest.Watch(r, "event/"+boiler+"/audited", &modbusv1.Audited{})
	r.Start("field/plc/link", tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String()})
	r.Start(boiler, modbusunit.Kind, &modbusv1.Unit{Link: "field/plc/link", Unit: 1, Firewall: path})
	cfg := guarded(3 * time.Second)
	cfg.Otherwise, cfg.DeadMan[0].Callers, cfg.DeadMan[0].Unit, cfg.DeadMan[0].Point = "deny", nil, "field/plc/pump", "beat"
	cell := r.Start(path, modbusfirewall.Kind, cfg)
	const alive = 90                               // number of changes, 50 ms apart
	for i := 0; len(events) == 0 && i < 400; i++ { // for longer than it may be silent; then the point no longer changes
		s := &samplev1.Samples{Samples: []*samplev1.Sample{{Point: "beat", Value: &samplev1.Sample_Number{Number: float64(min(i, alive))}}}}
		if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.Data, "field/plc/pump", "points"), s); err != nil {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
		if len(events) > 0 && i < alive {
			t.Fatalf("tripped although the point changes: %v", <-events)
		}
	}
	for _, want := range []string{"tripped", "safe"} {
		if got := actorstest.Next(t, events); got.Group != "boiler" || got.State != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if v, _ := d.Get(sim.HoldingRegisters, 100, 2); v[0] != 200 || v[1] != 0 {
		t.Errorf("the device holds %v", v)
	}
	for range 2 {
		if got := actorstest.Next(t, audit); got.Caller != "actor/"+path || got.Outcome != "done" || len(got.Trace) != 32 {
			t.Errorf("audited %v", got)
		}
	}
	r.Until("it stands on disk", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
	r.Stop(cell)
	r.Spawn(cell)
	if got := actorstest.Next(t, events); got.State != "tripped" || !strings.Contains(got.Cause, "had tripped before") {
		t.Errorf("in the next life: %v", got)
	}
	_, err = actorstest.Call(r, boiler, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(0), Values: []uint32{1}}, &modbusv1.WriteRegistersResponse{})
	if err == nil || !strings.Contains(err.Error(), "dead-man group boiler has tripped") {
		t.Error(err)
	}
}

// A safe write straight through a link has the unit left alone afterwards for as long as it needs.
func TestASafeWriteStraightThroughALinkIsPaced(t *testing.T) {
	const line = "field/line"
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute); synctest.Wait() }) // after all others: what was begun runs out
		r, _ := actorstest.NewVirtual(t)
		var asks []*dispatch.Ask
		r.Peer(line, func(msg any) any {
			m := msg.(*dispatch.Ask)
			asks = append(asks, m)
			return &dispatch.Answer{Ask: m, Results: []dispatch.Result{{}}}
		})
		r.Start(path, modbusfirewall.Kind, &modbusv1.Firewall{
			DeadMan:    []*modbusv1.DeadMan{{Name: "pump", Silence: durationpb.New(time.Second)}},
			SafeWrites: []*modbusv1.SafeWrite{{Group: "pump", Link: line, At: proto.Uint32(9), Address: 1, Values: []uint32{2}, RestAfterWrite: durationpb.New(3 * time.Second)}},
		})
		time.Sleep(2 * time.Second) // virtual
		synctest.Wait()
		if len(asks) != 1 || asks[0].Rest != 3*time.Second {
			t.Errorf("asked %+v", asks)
		}
	})
}

// A group that was released and trips again is made safe again: its safe writes are no part of the
// operator's call of Release, which is over by then.
func TestASecondTripIsMadeSafe(t *testing.T) {
	d := sim.NewDevice(1)
	d.Put(sim.HoldingRegisters, 100, 700, 1)
	d.Put(sim.Coils, 7, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sim.NewPlant(d).ServeTCP(ctx, l) }()
	t.Cleanup(func() { cancel(); l.Close(); <-done })
	r := actorstest.New(t)
	events := actorstest.Watch(r, "event/"+path+"/dead-man", &modbusv1.DeadManChanged{})
	r.Start("field/plc/link", tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String()})
	r.Start(boiler, modbusunit.Kind, &modbusv1.Unit{Link: "field/plc/link", Unit: 1, Firewall: path})
	r.Start(path, modbusfirewall.Kind, guarded(time.Second))
	want := func(states ...string) {
		t.Helper()
		for _, state := range states {
			if got := actorstest.NextWhere(t, events, func(m *modbusv1.DeadManChanged) bool { return m.Group == "boiler" }); got.State != state {
				t.Fatalf("%v, want %s", got, state)
			}
		}
	}
	want("tripped", "safe")
	d.Put(sim.HoldingRegisters, 100, 700, 1)
	if _, err := r.System.Call(t.Context(), path, "Release", &modbusv1.ReleaseRequest{Group: "boiler"}); err != nil {
		t.Fatal(err)
	}
	want("released", "tripped", "safe")
	if v, _ := d.Get(sim.HoldingRegisters, 100, 2); v[0] != 200 || v[1] != 0 {
		t.Errorf("the device holds %v", v)
	}
}
