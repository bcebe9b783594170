package dial_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/datagram"
	"gatewayd/protocols/modbus/dial"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
)

var kinds = map[string]modbus.Framing{"udp": modbus.TCP, "rtu-over-udp": modbus.RTUOverTCP}

func TestAskPymodbusOverUDP(t *testing.T) {
	for kind, f := range kinds {
		t.Run(kind, func(t *testing.T) {
			port := freeport.Port(t)
			peer.Start(t, append(peer.Pymodbus(t, "testdata/peer.py"), "server", kind, port)...)
			conn, err := dial.UDP(context.Background(), "127.0.0.1:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			eventually(t, func() error {
				l := modbus.NewLink(conn, f, modbus.Options{Datagrams: true, Timeout: 500 * time.Millisecond})
				_, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Quantity: 1})
				return err
			})
			readsMeter(t, modbus.NewLink(conn, f, modbus.Options{Datagrams: true}))
		})
	}
}

func plant() *sim.Plant {
	d := sim.NewDevice(7)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, i)
	}
	return sim.NewPlant(d)
}

// served serves a plant over UDP until the test ends.
func served(t *testing.T, f modbus.Framing, limits datagram.Limits) *datagram.Listener {
	t.Helper()
	l, err := datagram.Listen("127.0.0.1:0", f, limits)
	if err != nil {
		t.Fatal(err)
	}
	p := plant()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { _ = p.ServeStream(context.Background(), c, f) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l
}

func TestPymodbusAsksOurUDPServer(t *testing.T) {
	for kind, f := range kinds {
		t.Run(kind, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(served(t, f, datagram.Limits{}).Addr().String())
			peer.Run(t, append(peer.Pymodbus(t, "testdata/peer.py"), "client", kind, port)...)
		})
	}
}

// Garbage, partial frames and duplicates cost no client its answers, and clients beyond the limit
// get none until others have left.
func TestUDPServerHoldsItsLimits(t *testing.T) {
	l := served(t, modbus.TCP, datagram.Limits{PerAddress: 2, Idle: 3 * time.Second})
	ask := func(c net.Conn) error {
		link := modbus.NewLink(c, modbus.TCP, modbus.Options{Datagrams: true, Timeout: 100 * time.Millisecond})
		_, err := link.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Quantity: 1})
		return err
	}
	var clients [3]net.Conn
	for i := range clients {
		c, err := net.Dial("udp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[i] = c
	}
	eventually(t, func() error { return ask(clients[0]) })
	for _, junk := range []string{"", "x", "\x00\x01\x00\x00\x00\x06\x07", "\x00\x01\x00\x00\x00\x06\x07\x03\x00\x00\x00\x01\x00", string(make([]byte, 2000))} {
		_, _ = clients[0].Write([]byte(junk))
	}
	eventually(t, func() error { return ask(clients[0]) })
	eventually(t, func() error { return ask(clients[1]) })
	dropped := l.Dropped()
	if dropped < 5 {
		t.Errorf("%d dropped", dropped)
	}
	eventually(t, func() error { return ask(clients[2]) })
	if l.Dropped() == dropped {
		t.Error("a third client of one address was let in at once")
	}
}
