package dtulink_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/dtulink"
	"gatewayd/actors/dtulistener"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

func TestManners(t *testing.T) {
	actorstest.Conform(t, dtulink.Kind, &modbusv1.DtuLink{Listener: dtus(t), Registration: "1"}, dtulistener.Kind)
}

func TestWhatCannotBeIsBroken(t *testing.T) {
	for want, cfg := range map[string]*modbusv1.DtuLink{
		"registration or source": {Listener: dtus(t)},
		"registration: ":         {Listener: dtus(t), Registration: "0x1"},
		"source: ":               {Listener: dtus(t), Source: "modem-1"},
	} {
		r := actorstest.New(t).Once()
		r.Start("link", dtulink.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), want) {
			t.Errorf("level %d: %v", f.Level, f)
		}
	}
}

// dtus returns the path of the test's listener. It differs from test to test because claims are
// kept by path.
func dtus(t *testing.T) string {
	return "dtus-" + strings.NewReplacer("/", "-", "_", "-").Replace(strings.ToLower(t.Name()))
}

// listening starts a listener and returns its address.
func listening(t *testing.T, r *actorstest.Rig, cfg *modbusv1.DtuListener) string {
	t.Helper()
	cfg.Listen = "127.0.0.1:" + freeport.Port(t)
	cell := r.Start(dtus(t), dtulistener.Kind, cfg)
	r.Until("listening", func() bool { return cell.State() == actors.OK })
	return cfg.Listen
}

// linked starts a link and waits until the listener has its claim.
func linked(t *testing.T, r *actorstest.Rig, path string, cfg *modbusv1.DtuLink) *actors.Cell {
	t.Helper()
	cfg.Listener = dtus(t)
	cell := r.Start(path, dtulink.Kind, cfg)
	r.Until("claimed", func() bool {
		resp, err := actorstest.Call(r, dtus(t), "Callers", &modbusv1.CallersRequest{}, &modbusv1.CallersResponse{})
		return err == nil && strings.Contains(strings.Join(resp.Missing, " "), path)
	})
	return cell
}

// dials connects, sends hello and serves a meter whose register 1 holds value.
func dials(t *testing.T, at, hello string, f modbus.Framing, value uint16) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(hello)); err != nil {
		t.Fatal(err)
	}
	d := sim.NewDevice(7)
	d.Put(sim.HoldingRegisters, 1, value)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sim.NewPlant(d).ServeStream(context.Background(), c, f)
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return c
}

func ask(t *testing.T, r *actorstest.Rig, path string, unit uint8, timeout time.Duration) dispatch.Result {
	t.Helper()
	answers := make(chan dispatch.Result, 1)
	r.System.Ask(path, &dispatch.Ask{
		Requests: []modbus.Request{{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: 1, Quantity: 1}},
		Timeouts: []time.Duration{timeout},
	}, func(msg any, err error) {
		if err != nil {
			answers <- dispatch.Result{Err: err}
			return
		}
		answers <- msg.(*dispatch.Answer).Results[0]
	})
	return actorstest.Next(t, answers)
}

func reads(t *testing.T, r *actorstest.Rig, path string, want uint16) {
	t.Helper()
	if res := ask(t, r, path, 7, actorstest.Patience); res.Err != nil || res.Register(0) != want {
		t.Errorf("%s: %v, want %d", path, res, want)
	}
}

func TestEachIsKnownByItsRegistration(t *testing.T) {
	for name, f := range map[string]modbus.Framing{"rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP, "tcp": modbus.TCP} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			at := listening(t, r, &modbusv1.DtuListener{Prefix: "REG:"})
			a := linked(t, r, "site/a", &modbusv1.DtuLink{Registration: "1234", Framing: name})
			b := linked(t, r, "site/b", &modbusv1.DtuLink{Registration: "0x0a0d", Framing: name})
			dials(t, at, "REG:1234\r\n", f, 1)
			dials(t, at, "REG:\n\r", f, 2)
			r.Until("both", func() bool { return a.State() == actors.OK && b.State() == actors.OK })
			for range 20 {
				reads(t, r, "site/a", 1)
				reads(t, r, "site/b", 2)
			}
		})
	}
}

func TestKnownByItsAddress(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Source: "127.0.0.0/8"})
	dials(t, at, "whatever it says first", modbus.RTUOverTCP, 3)
	r.Until("connected", func() bool { return a.State() == actors.OK })
	reads(t, r, "a", 3)
}

// A DTU that calls again has forgotten its first connection, although that still looks alive to the
// gateway.
func TestSecondCallReplacesTheHalfDeadFirst(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	half, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer half.Close()
	_, _ = half.Write([]byte("1234"))
	r.Until("connected", func() bool { return a.State() == actors.OK })
	answers := make(chan dispatch.Result, 1)
	r.System.Ask("a", &dispatch.Ask{
		Requests: []modbus.Request{{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 1, Quantity: 1}}, Timeouts: []time.Duration{time.Minute},
	}, func(msg any, _ error) { answers <- msg.(*dispatch.Answer).Results[0] })
	if _, err := half.Read(make([]byte, 8)); err != nil { // the request is under way
		t.Fatal(err)
	}
	dials(t, at, "1234", modbus.RTUOverTCP, 5)
	if res := actorstest.Next(t, answers); res.Err != nil || res.Register(0) != 5 {
		t.Error(res)
	}
	for {
		if _, err := half.Read(make([]byte, 8)); err != nil {
			break
		}
	}
	reads(t, r, "a", 5)
}

func TestHeartbeatsAreNoAnswers(t *testing.T) {
	for name, f := range map[string]modbus.Framing{"rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP, "tcp": modbus.TCP} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			at := listening(t, r, &modbusv1.DtuListener{Heartbeats: []string{"HB", "0xfefe"}})
			a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234", Framing: name})
			c := dials(t, at, "1234", f, 9)
			r.Until("connected", func() bool { return a.State() == actors.OK })
			for i := range 60 {
				_, _ = c.Write([]byte([]string{"HB", "\xfe\xfe", "1234", "HBHB"}[i%4]))
				reads(t, r, "a", 9)
			}
			if s, err := actorstest.Call(r, "a", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{}); err != nil || s.Opened != 1 {
				t.Error(s, err)
			}
		})
	}
}

// A silent unit does not cost its neighbours the connection.
func TestSilentUnitKeepsTheConnection(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	dials(t, at, "1234", modbus.RTUOverTCP, 9)
	r.Until("connected", func() bool { return a.State() == actors.OK })
	for range 3 {
		if res := ask(t, r, "a", 8, 300*time.Millisecond); res.Err == nil {
			t.Error("unit 8 answers")
		}
		reads(t, r, "a", 9)
	}
	if s, err := actorstest.Call(r, "a", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{}); err != nil || s.Opened != 1 {
		t.Error(s, err)
	}
}

func TestTwoClaimsOfOneRegistration(t *testing.T) {
	r := actorstest.New(t)
	listening(t, r, &modbusv1.DtuListener{})
	linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	states := actorstest.Watch(r, "state/b/link", &modbusv1.LinkState{})
	r.Start("b", dtulink.Kind, &modbusv1.DtuLink{Listener: dtus(t), Registration: "1234"})
	actorstest.NextWhere(t, states, func(s *modbusv1.LinkState) bool { return strings.Contains(s.Cause, "used by a already") })
}

// A restarted listener knows the claims at once, and 300 DTUs that call together are all let in.
func TestThreeHundredCallAtOnce(t *testing.T) {
	const n = 300
	r := actorstest.New(t)
	cfg := &modbusv1.DtuListener{}
	at := listening(t, r, cfg)
	var cells [n]*actors.Cell
	for i := range cells {
		cells[i] = r.Start(fmt.Sprintf("dtu-%d", i), dtulink.Kind, &modbusv1.DtuLink{Listener: dtus(t), Registration: fmt.Sprintf("%015d", i)})
	}
	r.Until("claimed", func() bool {
		resp, err := actorstest.Call(r, dtus(t), "Callers", &modbusv1.CallersRequest{}, &modbusv1.CallersResponse{})
		return err == nil && len(resp.Missing) == n
	})
	listener := r.System.Lookup(dtus(t))
	r.Stop(listener)
	r.Spawn(listener)
	r.Until("listening again", func() bool { return listener.State() == actors.OK })
	for i := range cells {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "%015d", i)
	}
	for _, c := range cells {
		r.Until("connected", func() bool { return c.State() == actors.OK })
	}
	resp, err := actorstest.Call(r, dtus(t), "Callers", &modbusv1.CallersRequest{}, &modbusv1.CallersResponse{})
	if err != nil || len(resp.Callers) != n || len(resp.Missing) != 0 || resp.Refused != 0 {
		t.Error(len(resp.Callers), resp.Missing, resp.Refused, err)
	}
}

// When a DTU is lost, the last frames on its connection are reported.
func TestALostConnectionTellsTheLastFrames(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	failed := actorstest.Watch(r, "event/a/failed", &modbusv1.Failed{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	c := dials(t, at, "1234", modbus.RTUOverTCP, 9)
	r.Until("connected", func() bool { return a.State() == actors.OK })
	reads(t, r, "a", 9)
	_ = c.Close()
	r.Until("unreachable", func() bool {
		return a.State() == actors.Unreachable || ask(t, r, "a", 7, time.Second).Err != nil && a.State() == actors.Unreachable
	})
	m := actorstest.Next(t, failed)
	if text := strings.Join(m.Frames, "\n"); m.State != actors.Unreachable || m.Cause == "" || m.Framing != "rtu" || !strings.Contains(text, "# unit 7: read holding registers 1+1: 9") {
		t.Errorf("%v\n%s", m, text)
	}
}

// A link that stops closes its connection and releases its claim.
func TestStoppedLinkFreesItsClaim(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	dials(t, at, "1234", modbus.RTUOverTCP, 1)
	r.Until("connected", func() bool { return a.State() == actors.OK })
	r.Stop(a)
	b := linked(t, r, "b", &modbusv1.DtuLink{Registration: "1234"})
	dials(t, at, "1234", modbus.RTUOverTCP, 2)
	r.Until("connected", func() bool { return b.State() == actors.OK })
	reads(t, r, "b", 2)
}

// socat plays the DTU: a TCP client that registers and then forwards a serial port.
func TestSocatIsTheDTU(t *testing.T) {
	socat, err := exec.LookPath("socat")
	if err != nil {
		t.Fatal("socat is missing: apt-get install -y socat")
	}
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{Length: 15})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "866123456789012"})
	near := t.TempDir() + "/near"
	bus, err := net.Listen("unix", near) // the serial side
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	go func() {
		if c, err := bus.Accept(); err == nil {
			d := sim.NewDevice(7)
			d.Put(sim.HoldingRegisters, 1, 77)
			_ = sim.NewPlant(d).ServeStream(context.Background(), c, modbus.RTUOverTCP)
		}
	}()
	modem := t.TempDir() + "/modem"
	script := fmt.Sprintf("#!/bin/sh\nprintf 866123456789012\nexec %s - UNIX-CONNECT:%s\n", socat, near)
	if err := os.WriteFile(modem, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	dtu := exec.Command(socat, "TCP:"+at, "EXEC:"+modem)
	if err := dtu.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dtu.Process.Kill(); _ = dtu.Wait() }()
	r.Until("connected", func() bool { return a.State() == actors.OK })
	for range 10 {
		reads(t, r, "a", 77)
	}
}

// A DTU whose connection was handed to a link that hung is let go when the link begins anew: a DTU
// that knows that it is connected does not dial again.
func TestALinkThatHungLetsItsDTUGo(t *testing.T) {
	r := actorstest.New(t)
	at := listening(t, r, &modbusv1.DtuListener{})
	a := linked(t, r, "a", &modbusv1.DtuLink{Registration: "1234"})
	a.Drill("hang", 0, actorstest.Patience, func(error) {})
	defer a.ClearDrill()
	first, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, _ = first.Write([]byte("1234"))
	r.Until("handed over", func() bool {
		resp, err := actorstest.Call(r, dtus(t), "Callers", &modbusv1.CallersRequest{}, &modbusv1.CallersResponse{})
		return err == nil && len(resp.Callers) == 1
	})
	a.Fence()
	r.Spawn(a)
	_ = first.SetReadDeadline(time.Now().Add(actorstest.Patience / 2))
	if _, err := first.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection stays open: %v", err)
	}
	dials(t, at, "1234", modbus.RTUOverTCP, 5)
	r.Until("connected", func() bool { return a.State() == actors.OK })
	reads(t, r, "a", 5)
}
