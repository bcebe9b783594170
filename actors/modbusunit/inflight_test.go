package modbusunit_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// A device behind a slow network serves as many requests at a time as configured.
func TestTransactionsInFlight(t *testing.T) {
	const calls, delay = 8, 500 * time.Millisecond
	for _, n := range []uint32{1, calls} {
		virtually(t, func(t *testing.T) {
			d := meter(7)
			r, _ := actorstest.NewVirtual(t)
			noFault(t, r)
			r.Start(linkPath, tcplink.Over(wiredTo(t, modbus.TCP, d)), &modbusv1.TcpLink{Address: "192.0.2.1", InFlight: n})
			cfg := config()
			cfg.Points, cfg.Timeout = nil, ms(20_000)
			r.Start(unitPath, modbusunit.Kind, cfg)
			if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{}); err != nil {
				t.Fatal(err)
			}
			d.Behave(sim.Behaviour{Late: delay})
			begin := time.Now()
			var all sync.WaitGroup
			for i := range uint32(calls) {
				all.Go(func() {
					got, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 100 + i}, &modbusv1.ReadRegistersResponse{})
					if err != nil || got.Values[0] != 100+i {
						t.Errorf("%v %v", got, err)
					}
				})
			}
			all.Wait()
			if took, least := time.Since(begin), delay*calls/time.Duration(n); took < least || took > least+delay/2 {
				t.Errorf("%d calls took %v, %d at a time", calls, took, n)
			}
		})
	}
}

// deaf makes a connection look as if its far end had lost power: it acknowledges and sends nothing.
func deaf(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	})
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

// heard is a listener that exposes the connections it accepts.
type heard struct {
	net.Listener
	conns chan<- net.Conn
}

func (h heard) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err == nil {
		h.conns <- c
	}
	return c, err
}

// accepting serves a plant and exposes its connections.
func accepting(t *testing.T, p *sim.Plant, conns chan<- net.Conn) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.ServeTCP(ctx, heard{l, conns}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// established reports whether the kernel considers the far side of an accepted connection
// established.
func established(t *testing.T, c net.Conn) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	near, far := c.LocalAddr().(*net.TCPAddr).Port, c.RemoteAddr().(*net.TCPAddr).Port
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if strings.HasSuffix(f[1], fmt.Sprintf(":%04X", far)) && strings.HasSuffix(f[2], fmt.Sprintf(":%04X", near)) {
			return f[3] == "01"
		}
	}
	return false
}

// A connection whose far end has vanished is replaced, both in use and idle, and no write is lost
// on an idle one.
func TestHalfOpenConnections(t *testing.T) {
	for name, inFlight := range map[string]uint32{"one at a time": 1, "four": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := meter(7)
			conns := make(chan net.Conn, 16)
			at := accepting(t, sim.NewPlant(d), conns)
			r := actorstest.New(t)
			r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: at, InFlight: inFlight, DeadAfter: ms(1000)})
			cfg := config()
			cfg.Points, cfg.Timeout = nil, ms(20000)
			r.Start(unitPath, modbusunit.Kind, cfg)
			first := actorstest.Next(t, conns)
			readOne := func() error {
				_, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
				return err
			}
			if err := readOne(); err != nil {
				t.Fatal(err)
			}
			deaf(t, first)
			if err := readOne(); err != nil { // works only because the kernel notices the loss
				t.Error(err)
			}
			second := actorstest.Next(t, conns)
			deaf(t, second)
			within(t, 30*time.Second, "the idle connection is dead", func() bool { return !established(t, second) })
			before := d.Counters().Writes
			_, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(50), Values: []uint32{7}}, &modbusv1.WriteRegistersResponse{})
			if n := d.Counters().Writes - before; err != nil || n != 1 {
				t.Errorf("%d writes arrived: %v", n, err)
			}
		})
	}
}
