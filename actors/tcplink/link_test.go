package tcplink_test

import (
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

func TestManners(t *testing.T) {
	actorstest.Conform(t, tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1:1"})
}

// far starts a listener that hands each connection to the test.
func far(t testing.TB) (string, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns, done := make(chan net.Conn, 1024), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for len(conns) > 0 {
			_ = (<-conns).Close()
		}
	})
	return l.Addr().String(), conns
}

func TestRefusedIsHealth(t *testing.T) {
	r := actorstest.New(t)
	states := actorstest.Watch(r, "state/+/link", &modbusv1.LinkState{})
	cell := r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1:1", MaxBackoff: durationpb.New(10 * time.Millisecond)})
	s := actorstest.Next(t, states)
	if s.Up || s.Cause != "not connected: 127.0.0.1:1: connection refused" || s.Target != "127.0.0.1:1" {
		t.Error(s)
	}
	r.Until("unreachable", func() bool { return cell.State() == actors.Unreachable })
	for range 10 {
		actorstest.Next(t, states) // it keeps trying
	}
	if cell.Life() != 1 {
		t.Errorf("%d lives", cell.Life())
	}
}

func TestStatistics(t *testing.T) {
	r := actorstest.New(t)
	at, conns := far(t)
	r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{Address: at})
	defer actorstest.Next(t, conns).Close()
	r.Until("opened", func() bool {
		s, err := actorstest.Call(r, "plc", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{})
		return err == nil && s.Opened == 1 && s.Busy == 0
	})
}

// When a connection is lost, the last frames on it are reported.
func TestALostConnectionTellsTheLastFrames(t *testing.T) {
	r := actorstest.New(t)
	at, conns := far(t)
	failed := actorstest.Watch(r, "event/plc/failed", &modbusv1.Failed{})
	r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{Address: at, MaxBackoff: durationpb.New(time.Second)})
	conn := actorstest.Next(t, conns)
	answered := make(chan error, 1)
	r.System.Ask("plc", &dispatch.Ask{
		Class: schedule.Poll, Requests: []modbus.Request{{Unit: 7, Function: modbus.ReadHoldingRegisters, Quantity: 2}}, Timeouts: []time.Duration{time.Minute},
	}, func(_ any, err error) { answered <- err })
	if _, err := io.ReadFull(conn, make([]byte, 12)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	m := actorstest.Next(t, failed)
	text := strings.Join(m.Frames, "\n")
	if m.State != actors.Unreachable || !strings.Contains(m.Cause, "closed without an answer") || m.Framing != "tcp" ||
		!strings.HasSuffix(text, " ! - lost # lost") || !strings.Contains(text, "# unit 7: read holding registers 0+2\n") {
		t.Errorf("%v\n%s", m, text)
	}
	if err := actorstest.Next(t, answered); err != nil {
		t.Error(err)
	}
}

// Five hundred idle links cost five hundred sockets and no goroutine.
func TestIdleLinksAreCheap(t *testing.T) {
	r := actorstest.New(t)
	at, conns := far(t)
	const n = 500
	heap := func() uint64 {
		runtime.GC() // twice, because the content of pools survives the first
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before, routines := heap(), runtime.NumGoroutine()
	cells := make([]*actors.Cell, n)
	for i := range cells {
		cells[i] = r.Start("plc-"+strconv.Itoa(i), tcplink.Kind, &modbusv1.TcpLink{Address: at})
	}
	within(t, "connected", func() bool {
		return !slices.ContainsFunc(cells, func(c *actors.Cell) bool { return c.State() != actors.OK })
	})
	within(t, "all are accepted", func() bool { return len(conns) == n })
	within(t, "no worker is left", func() bool { return runtime.NumGoroutine() <= routines+10 })
	each := int64(0)
	within(t, "memory is given back", func() bool { // stacks of finished workers are freed only after a while
		each = (int64(heap()) - int64(before)) / n
		return each <= 20_000
	})
	t.Logf("%d bytes each, with the accepted side", each)
}

// within waits for cond as long as five hundred connections may take on a busy machine.
func within(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// Units behind a gateway are found by their address. Units that the gateway does not reach count as
// absent, and their silence costs no connection.
func TestScan(t *testing.T) {
	r := actorstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := sim.NewDevice(4)
	silent.Behave(sim.Behaviour{Silent: true})
	plant := sim.NewPlant(sim.NewDevice(3), silent)
	for u := range uint8(40) {
		d := sim.NewDevice(100 + u)
		d.Behave(sim.Behaviour{Silent: true})
		plant.Add(d)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- plant.ServeTCP(ctx, l) }()
	defer func() { cancel(); <-done }()
	r.Start("plc", tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String()})
	var found []*modbusv1.FoundUnit
	asked := uint32(0)
	err = r.Bus.Stream(t.Context(), bus.Subject(actorstest.Gateway, bus.Cmd, "plc", "Scan"), &modbusv1.ScanRequest{Wait: durationpb.New(20 * time.Millisecond)}, func(m bus.Msg) error {
		one := &modbusv1.ScanResponse{}
		if err := m.Decode(one); err != nil {
			return err
		}
		if asked = one.Asked; one.Found != nil {
			found = append(found, one.Found)
		}
		return nil
	})
	if err != nil || len(found) != 1 || found[0].Unit != 3 || asked != 247 {
		t.Errorf("%v, %v, %d asked", found, err, asked)
	}
	s, err := actorstest.Call(r, "plc", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{})
	if err != nil || s.Opened != 1 || s.Timeouts != 0 {
		t.Errorf("%v, %v", s, err)
	}
}
