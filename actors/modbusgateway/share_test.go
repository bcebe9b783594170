package modbusgateway_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestTheSameReadsAreOneTransaction(t *testing.T) {
	r := actorstest.New(t)
	d := device(7, 0)
	d.Behave(sim.Behaviour{Delay: time.Second}) // time for all masters to ask
	plc(t, r, d)
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{
		{First: 7, Link: linkPath, Timeout: ms(20_000)}, {First: 8, Link: linkPath, Unit: unit(7), Timeout: ms(20_000), Cache: ms(60_000)},
	}})
	var all sync.WaitGroup
	for range 10 {
		l := master(t, port, modbus.TCP)
		all.Go(func() { expect(t, l, read(7, 30, 2), 0, 30) })
	}
	all.Wait()
	if n := d.Counters().Requests; n > 5 {
		t.Errorf("%d transactions for ten equal reads at the same time", n)
	}
	d.Behave(sim.Behaviour{})
	l, before := master(t, port, modbus.TCP), d.Counters().Requests
	for range 5 {
		expect(t, l, read(8, 40, 1), 0, 40)
	}
	if n := d.Counters().Requests - before; n != 1 {
		t.Errorf("%d transactions for five equal reads with a cache", n)
	}
	expect(t, l, write(8, 40, 99), 0, 0)
	expect(t, l, read(8, 40, 1), 0, 99)
	if n := traffic(t, r); n.Cached != 4 || n.Shared < 5 {
		t.Errorf("counted %v", n)
	}
}

// Writes of others through the same link invalidate what was read before them too.
func TestTheCacheKnowsWhatOthersWrite(t *testing.T) {
	r := actorstest.New(t)
	d := device(9, 0)
	plc(t, r, d)
	r.Start(meterPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Unit: 9, Every: ms(60_000), Timeout: ms(20_000)})
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{
		{First: 9, Link: linkPath, Timeout: ms(20_000), Cache: ms(3_600_000)},
	}})
	l := master(t, port, modbus.TCP)
	for _, value := range []uint16{0, 77, 78} {
		if value > 0 {
			_, err := actorstest.Call(r, meterPath, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(0), Values: []uint32{uint32(value)}}, &modbusv1.WriteRegistersResponse{})
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			expect(t, l, read(9, 0, 1), 0, value)
		}
	}
	if n := traffic(t, r); n.Cached != 6 {
		t.Errorf("counted %v", n)
	}
}

func TestALinkThatIsDown(t *testing.T) {
	r := actorstest.New(t)
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1:1"})
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{{First: 7, Link: linkPath}, {First: 8, Link: "no/such/link"}}})
	l := master(t, port, modbus.TCP)
	expect(t, l, read(7, 30, 2), modbus.GatewayPath, 0)
	expect(t, l, read(8, 30, 2), modbus.GatewayPath, 0)
	if n := traffic(t, r); n.Down != 2 {
		t.Errorf("counted %v", n)
	}
}

// A master that gets no turn in time is told so, and the line goes on.
func TestPatience(t *testing.T) {
	r := actorstest.New(t)
	d := device(7, 0)
	d.Behave(sim.Behaviour{Delay: 3 * time.Second})
	plc(t, r, d)
	port := begin(t, r, &modbusv1.Gateway{QueueTimeout: ms(1000), Outstanding: 1, Routes: []*modbusv1.Route{{First: 7, Link: linkPath, Timeout: ms(20_000)}}})
	var all sync.WaitGroup
	var done, busy atomic.Int32
	for i := range 4 {
		l := master(t, port, modbus.TCP)
		all.Go(func() {
			_, err := l.Do(context.Background(), read(7, uint16(i), 1))
			var e *modbus.Exception
			if err == nil {
				done.Add(1)
			} else if errors.As(err, &e) && e.Code == modbus.DeviceBusy {
				busy.Add(1)
			}
		})
	}
	all.Wait()
	if done.Load() == 0 || busy.Load() == 0 || done.Load()+busy.Load() != 4 {
		t.Errorf("%d answered, %d refused as busy", done.Load(), busy.Load())
	}
}

const peers = "../../protocols/modbus/testdata"

// npm is the hint for a missing Node.js library.
const npm = "if a module is missing: sh packaging/npm.sh"

// clients returns programs made with third-party libraries. Each sends all requests it supports to
// a device whose registers hold their own address.
func clients(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{"libmodbus": peer.Libmodbus(t, filepath.Join(peers, "client.c")), "pymodbus": peer.Pymodbus(t, filepath.Join(peers, "client.py"))}
}

// All combinations: third-party masters over TCP and on serial lines; devices on lines of both
// framings, at a pseudo-terminal, and behind TCP with each framing.
func TestRealMasters(t *testing.T) {
	for name, argv := range clients(t) {
		for _, in := range []string{"tcp", "rtu", "ascii"} {
			if name == "libmodbus" && in == "ascii" {
				continue // libmodbus has no ASCII
			}
			for _, out := range []string{"line", "ascii line", "pty", "tcp", "rtu over tcp", "ascii over tcp"} {
				t.Run(name+"/"+in+" to "+out, func(t *testing.T) {
					r := actorstest.New(t)
					cfg := &modbusv1.Gateway{Routes: []*modbusv1.Route{{First: 7, Link: leads(t, r, out)}}}
					where := ""
					if in != "tcp" {
						near, far := peer.Cable(t)
						where = near
						cfg.Serial = []*modbusv1.SerialDoor{{Port: far, Parity: "none", Framing: in}}
					}
					port := begin(t, r, cfg)
					if in == "tcp" {
						where = port
					}
					if text, err := exec.Command(argv[0], append(argv[1:], in, where)...).CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, text)
					}
				})
			}
		}
	}
}

// leads starts a line or link with a device that supports all functions and returns the path.
func leads(t *testing.T, r *actorstest.Rig, out string) string {
	t.Helper()
	d := equipped(7)
	switch out {
	case "line":
		rs485(t, r, d)
	case "ascii line":
		wired(t, r, &modbusv1.SerialLine{Baud: 115200, Framing: "ascii"}, d)
	case "pty":
		wired(t, r, &modbusv1.SerialLine{InterFrameDelay: ms(0)}, d)
	case "tcp":
		plc(t, r, d)
		return linkPath
	default:
		framing, _, _ := strings.Cut(out, " ")
		behind(t, r, framing, d)
		return linkPath
	}
	return linePath
}

// JavaScript clients get the same answers, over Modbus TCP and with RTU frames over TCP, which no
// other peer sends.
func TestRealMastersOfJavaScript(t *testing.T) {
	for _, x := range []struct{ library, in string }{{"jsmodbus", "tcp"}, {"modbus-serial", "tcp"}, {"modbus-serial", "rtutcp"}} {
		t.Run(x.library+"/"+x.in, func(t *testing.T) {
			for _, out := range []string{"line", "ascii line", "tcp", "rtu over tcp"} {
				t.Run(out, func(t *testing.T) {
					r := actorstest.New(t)
					rtu := freeport.Port(t)
					port := begin(t, r, &modbusv1.Gateway{
						Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + rtu, Framing: "rtu"}},
						Routes: []*modbusv1.Route{{First: 7, Link: leads(t, r, out)}},
					})
					if x.in == "rtutcp" {
						port = rtu
					}
					if text, err := exec.Command("node", filepath.Join(peers, "npm", "client.js"), x.library, x.in, port).CombinedOutput(); err != nil {
						t.Errorf("%v\n%s\n%s", err, text, npm)
					}
				})
			}
		})
	}
}

func TestRTUOverTCP(t *testing.T) {
	r := actorstest.New(t)
	rs485(t, r, device(7, 0))
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Gateway{
		Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port, Framing: "rtu"}},
		Routes: []*modbusv1.Route{{First: 7, Link: linePath}},
	})
	l := master(t, port, modbus.RTUOverTCP)
	for i := range uint16(20) {
		expect(t, l, read(7, i, 3), 0, i)
	}
	expect(t, l, read(8, 0, 1), modbus.GatewayPath, 0)
}

// rowdy opens connections that misbehave: they send garbage or half a request, or do not read
// answers.
func rowdy(t *testing.T, ctx context.Context, all *sync.WaitGroup, port string, n int) {
	t.Helper()
	ask := modbus.AppendFrame(nil, modbus.TCP, 1, 7, modbus.AppendRequest(nil, read(7, 0, 100)))
	for i := range n {
		what := [][]byte{bytes.Repeat([]byte("GET / HTTP/1.0\r\n"), 50), ask[:9], bytes.Repeat(ask, 50)}[i%3]
		all.Go(func() {
			for range 100 { // the server disconnects them, and they connect again
				conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+port)
				if err != nil {
					return
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				for err == nil {
					_, err = conn.Write(what)
					if i%3 == 1 {
						_, err = conn.Read(make([]byte, 1))
					}
				}
				stop()
				_ = conn.Close()
			}
		})
	}
}

// asking sends requests until the connection is lost and returns the number of answers.
func asking(ctx context.Context, port string, r modbus.Request) (answered int32) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 0
	}
	defer conn.Close()
	l := modbus.NewLink(conn, modbus.TCP, modbus.Options{Timeout: actorstest.Patience})
	for ctx.Err() == nil && !modbus.LinkLost(err) {
		if _, err = l.Do(ctx, r); err == nil {
			answered++
		}
	}
	return answered
}

// lateness measures the largest delay, in nanoseconds, with which the machine wakes a goroutine
// that only sleeps.
func lateness(ctx context.Context, all *sync.WaitGroup) *atomic.Int64 {
	const every = 5 * time.Millisecond
	most := &atomic.Int64{}
	all.Go(func() {
		for ctx.Err() == nil {
			at := time.Now()
			<-time.After(every)
			if d := int64(time.Since(at) - every); d > most.Load() {
				most.Store(d)
			}
		}
	})
	return most
}

// Five hundred masters that ask as fast as they can, and some that misbehave, cost the gateway's
// own polling no slot.
func TestACrowdDisturbsNoPolling(t *testing.T) {
	r := actorstest.New(t)
	rs485(t, r, device(7, 0))
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	poller := r.Start("field/rs485-1/meter", modbusunit.Kind, &modbusv1.Unit{
		Link: linePath, Unit: 7, Every: ms(500), Timeout: ms(1000), Points: []*modbusv1.Point{{Name: "power", Address: 10}},
	})
	port := begin(t, r, &modbusv1.Gateway{
		MaxMasters: 512, MaxMastersPerAddress: 512, IdleTimeout: ms(3000), SendTimeout: ms(3000), Routes: []*modbusv1.Route{{First: 7, Link: linePath}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	var answered atomic.Int32
	for i := range 500 {
		all.Go(func() {
			for ctx.Err() == nil { // a client that a busy machine delays for long is disconnected as idle and connects again
				answered.Add(asking(ctx, port, read(7, uint16(i%100), uint16(1+i/100))))
			}
		})
	}
	r.Until("all masters are listed", func() bool {
		m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
		return err == nil && len(m.Masters) == 500 && m.Refused == 0
	})
	rowdy(t, ctx, &all, port, 12)
	r.Until("the rowdy are cut", func() bool {
		m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
		return err == nil && m.Garbled > 3 && m.Idle > 0
	})
	for len(data) > 0 {
		<-data
	}
	missed, begin := poller.Counters().MissedTicks, time.Now()
	const slots = 12
	good, disturbed := 0, 0
	late := lateness(ctx, &all)
	for range slots {
		s := actorstest.Next(t, data)
		stood := time.Duration(late.Swap(0))
		switch {
		case s.Samples[0].Quality == "":
			good++
		case stood < 50*time.Millisecond: // the machine was not overloaded
			disturbed++
		}
		if s.Samples[0].Value != nil && s.Samples[0].GetNumber() != 10 {
			t.Errorf("published %v", s)
		}
	}
	// The masters take processor time as well. If polls waited behind them in one queue, no slot
	// would be served in time.
	if good < slots/4 || disturbed > 0 {
		t.Errorf("%d of %d slots have brought a good value, %d have not though nothing else kept them from it", good, slots, disturbed)
	}
	t.Logf("%d of %d slots in %v have brought a good value, %d were missed", good, slots, time.Since(begin), poller.Counters().MissedTicks-missed)
	cancel()
	all.Wait()
	if answered.Load() == 0 {
		t.Error("the masters got no answer")
	}
}

func TestRoutesThatCannotBe(t *testing.T) {
	for name, routes := range map[string][]*modbusv1.Route{
		"two for one unit": {{First: 1, Last: unit(5), Link: linePath}, {First: 5, Link: linkPath}},
		"backwards":        {{First: 5, Last: unit(1), Link: linePath}},
		"beyond 255":       {{First: 1, Last: unit(10), Unit: unit(250), Link: linePath}},
		"broadcast within": {{First: 0, Last: unit(10), Link: linePath}},
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t).Once()
			r.Start(path, modbusgateway.Kind, &modbusv1.Gateway{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:0"}}, Routes: routes})
			if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken {
				t.Errorf("level %v: %v", f.Level, f)
			}
		})
	}
}
