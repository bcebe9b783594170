package modbus_test

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
)

// program finds a peer's executable, or fails with instructions to install it.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install -y %s", name, name)
	}
	return path
}

// dialed connects to a server that may still be starting.
func dialed(t *testing.T, port string) net.Conn {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return conn
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// awake sends requests to a server on a line, which may still be starting, until it answers.
func awake(t *testing.T, conn modbus.Conn, f modbus.Framing) {
	t.Helper()
	l := modbus.NewLink(conn, f, modbus.Options{Late: time.Millisecond})
	r := read(7, 0, 1)
	r.Timeout = 300 * time.Millisecond
	for end := time.Now().Add(time.Minute); ; {
		_, err := l.Do(context.Background(), r)
		if err == nil {
			return
		}
		if modbus.LinkLost(err) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestOurClientAsksRealServers(t *testing.T) {
	libmodbus, pymodbus := peer.Libmodbus(t, "testdata/server.c"), peer.Pymodbus(t, "testdata/server.py")
	for name, server := range map[string][]string{"libmodbus": libmodbus, "pymodbus": pymodbus} {
		t.Run(name+"/tcp", func(t *testing.T) {
			port := freeport.Port(t)
			peer.Start(t, append(server, "tcp", port)...)
			l := modbus.NewLink(dialed(t, port), modbus.TCP, modbus.Options{Timeout: 3 * time.Second})
			everyFunction(t, l, 7)
			services[name](t, l)
		})
		for _, f := range []modbus.Framing{modbus.RTU, modbus.ASCII} {
			if f == modbus.ASCII && name == "libmodbus" {
				continue // libmodbus does not support ASCII
			}
			t.Run(name+"/"+f.String(), func(t *testing.T) {
				near, far := tty(t)
				peer.Start(t, append(server, f.String(), near.Name())...)
				awake(t, far, f)
				l := modbus.NewLink(far, f, modbus.Options{Timeout: 3 * time.Second})
				everyFunction(t, l, 7)
				services[name](t, l)
			})
		}
	}
}

// services are the functions of a peer's server other than those for its tables.
var services = map[string]func(t *testing.T, l *modbus.Link){"libmodbus": libmodbusServices, "pymodbus": pymodbusServices}

func data(t *testing.T, l *modbus.Link, r modbus.Request) []byte {
	t.Helper()
	got, err := l.Do(context.Background(), r)
	if err != nil {
		t.Errorf("%v: %v", r, err)
	}
	return got.Data
}

func libmodbusServices(t *testing.T, l *modbus.Link) {
	id := data(t, l, modbus.Request{Unit: 7, Function: modbus.ReportServerID})
	if len(id) < 3 || id[1] != 0xff || !strings.HasPrefix(string(id[2:]), "LMB") {
		t.Errorf("server id %q", id)
	}
}

func pymodbusServices(t *testing.T, l *modbus.Link) {
	bare := func(function uint8) []byte { return data(t, l, modbus.Request{Unit: 7, Function: function}) }
	if got := bare(modbus.ReadExceptionStatus); len(got) != 1 {
		t.Errorf("status %x", got)
	}
	if got := data(t, l, modbus.Diagnose(7, modbus.ReturnQueryData, 0xa5, 0x37)); string(got) != "\xa5\x37" {
		t.Errorf("loopback %x", got)
	}
	for sub := modbus.ReturnBusMessages; sub <= modbus.ReturnBusCharacterOverrun; sub++ {
		if got := data(t, l, modbus.Diagnose(7, sub, 0, 0)); len(got) != 2 {
			t.Errorf("counter %d: %x", sub, got)
		}
	}
	data(t, l, modbus.Diagnose(7, modbus.ClearCounters, 0, 0))
	if got := bare(modbus.ReadEventCounter); len(got) != 4 {
		t.Errorf("counter %x", got)
	}
	if _, err := modbus.ParseEvents(bare(modbus.ReadEventLog)); err != nil {
		t.Error(err)
	}
	if got := bare(modbus.ReportServerID); !strings.HasPrefix(string(got), "Acme-M-1-V1.0") {
		t.Errorf("server id %q", got)
	}
	if got := data(t, l, modbus.Request{Unit: 7, Function: modbus.ReadFIFOQueue, Address: 1}); len(got) != 0 {
		t.Errorf("queue %x", got)
	}
	data(t, l, modbus.WriteFiles(7, modbus.Records{File: 4, Record: 1, Values: []uint16{1, 2}}, modbus.Records{File: 5, Values: []uint16{3}}))
	for category, want := range map[uint8]int{modbus.BasicIdentification: 3, modbus.RegularIdentification: 6, modbus.ExtendedIdentification: 9} {
		objects := 0
		for next, more := uint8(0), true; more; {
			id, err := modbus.ParseIdentification(data(t, l, modbus.Identify(7, category, next)))
			if err != nil {
				t.Fatal(err)
			}
			objects, next, more = objects+len(id.Objects), id.Next, id.More
		}
		if objects != want {
			t.Errorf("category %d: %d objects, want %d", category, objects, want)
		}
	}
	id, err := modbus.ParseIdentification(data(t, l, modbus.Identify(7, modbus.OneObject, 0x81)))
	if err != nil || string(id.Objects[0].Value) != strings.Repeat("b", 100) {
		t.Error(id, err)
	}
}

func TestRealClientsAskOurSimulator(t *testing.T) {
	libmodbus, pymodbus := peer.Libmodbus(t, "testdata/client.c"), peer.Pymodbus(t, "testdata/client.py")
	for name, client := range map[string][]string{"libmodbus": libmodbus, "pymodbus": pymodbus} {
		t.Run(name+"/tcp", func(t *testing.T) {
			peer.Run(t, append(client, "tcp", listen(t, sim.NewPlant(equipped(7))))...)
		})
		for _, f := range []modbus.Framing{modbus.RTU, modbus.ASCII} {
			if f == modbus.ASCII && name == "libmodbus" {
				continue // libmodbus does not support ASCII
			}
			t.Run(name+"/"+f.String(), func(t *testing.T) {
				near, far := tty(t)
				serve(t, sim.NewPlant(equipped(7)), far, f)
				peer.Run(t, append(client, f.String(), near.Name())...)
			})
		}
	}
}

func TestMbpollAsksOurSimulator(t *testing.T) {
	mbpoll := program(t, "mbpoll")
	near, far := tty(t)
	d := meter(7)
	serve(t, sim.NewPlant(d), far, modbus.RTU)
	for name, where := range map[string][]string{
		"tcp": {"-m", "tcp", "-p", listen(t, sim.NewPlant(meter(7))), "127.0.0.1"},
		"rtu": {"-m", "rtu", "-b", "19200", "-P", "none", near.Name()},
	} {
		t.Run(name, func(t *testing.T) {
			poll := append([]string{mbpoll, "-a", "7", "-0", "-1", "-o", "3"}, where...)
			got := strings.Join(strings.Fields(peer.Run(t, append(poll, "-r", "20", "-c", "3", "-t", "4")...)), " ")
			if !strings.Contains(got, "[20]: 20 [21]: 21 [22]: 22") {
				t.Errorf("mbpoll read: %s", got)
			}
			if got := peer.Run(t, append(poll, "-r", "30", "-t", "4", "4711", "4712")...); !strings.Contains(got, "Written 2 references") {
				t.Errorf("mbpoll wrote: %s", got)
			}
			if got := peer.Run(t, append(poll, "-r", "30", "-c", "2", "-t", "4")...); !strings.Contains(got, "4711") || !strings.Contains(got, "4712") {
				t.Errorf("mbpoll read back: %s", got)
			}
		})
	}
}

// listen serves a plant over TCP until the test ends and returns its port.
func listen(t testing.TB, p *sim.Plant) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.ServeTCP(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
