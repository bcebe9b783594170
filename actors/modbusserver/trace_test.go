package modbusserver_test

import (
	"context"
	"encoding/hex"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// tracing collects the frames between masters and the server.
type tracing struct {
	mu     sync.Mutex
	frames []*modbusv1.MastersServiceTraceResponse
}

// trace starts a trace and collects its frames.
func trace(t *testing.T, r *actorstest.Rig, m *modbusv1.MastersServiceTraceRequest) *tracing {
	t.Helper()
	all := &tracing{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Trace"), m, func(msg bus.Msg) error {
			one := &modbusv1.MastersServiceTraceResponse{}
			all.mu.Lock()
			defer all.mu.Unlock()
			all.frames = append(all.frames, one)
			return msg.Decode(one)
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return all
}

// of returns the frames of all masters in one direction, without those of the masters in but.
func (x *tracing) of(direction string, but ...string) (all []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range x.frames {
		if f := m.Frame; f.Direction == direction && !slices.Contains(but, f.Master) {
			all = append(all, f.Hex)
		}
	}
	return all
}

func (x *tracing) all() []*modbusv1.MastersServiceTraceResponse {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.frames)
}

var (
	libmodbusSent = regexp.MustCompile(`(?m)^(\[[0-9A-F]{2}\])+`)
	libmodbusGot  = regexp.MustCompile(`(?m)^(<[0-9A-F]{2}>)+`)
	pymodbusSent  = regexp.MustCompile(`SEND: (.*)`)
	pymodbusGot   = regexp.MustCompile(`RECV: (.*)`)
)

// printed returns the frames that a client printed as sent or received.
func printed(t *testing.T, out string, frame *regexp.Regexp) (all []string) {
	t.Helper()
	for _, m := range frame.FindAllString(out, -1) {
		var b []byte
		for _, word := range strings.FieldsFunc(m, func(c rune) bool { return strings.ContainsRune("[]<> :", c) }) {
			if word == "SEND" || word == "RECV" {
				continue
			}
			v, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 8)
			if err != nil {
				t.Fatalf("%s: %v", m, err)
			}
			b = append(b, byte(v))
		}
		all = append(all, hex.EncodeToString(b))
	}
	return all
}

// A trace of masters shows, byte for byte, the frames that the masters report as sent and received.
func TestMastersAreTracedByteForByte(t *testing.T) {
	lib, py := peer.Libmodbus(t, "testdata/client.c"), peer.Pymodbus(t, "testdata/client.py")
	for _, c := range []struct {
		name, way string
		argv      []string
		sent, got *regexp.Regexp
	}{
		{"libmodbus", "tcp", lib, libmodbusSent, libmodbusGot},
		{"libmodbus", "rtu", lib, libmodbusSent, libmodbusGot},
		{"pymodbus", "tcp", py, pymodbusSent, pymodbusGot},
		{"pymodbus", "rtu", py, pymodbusSent, pymodbusGot},
		{"pymodbus", "ascii", py, pymodbusSent, pymodbusGot},
	} {
		t.Run(c.name+"/"+c.way, func(t *testing.T) {
			r := actorstest.New(t)
			port, where := freeport.Port(t), ""
			cfg := &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}}
			if where = port; c.way != "tcp" {
				near, far := peer.Cable(t)
				cfg.Serial, where = []*modbusv1.SerialDoor{{Port: near, Parity: "none", Framing: c.way}}, far
			}
			plant(t, r, cfg)
			filled(t, r, port)
			seen := trace(t, r, &modbusv1.MastersServiceTraceRequest{})
			own := client(t, port)
			r.Until("somebody listens", func() bool {
				_, err := own.Do(t.Context(), modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Quantity: 1})
				return err == nil && len(seen.of("sent")) > 0
			})
			me := seen.all()[0].Frame.Master
			text, err := exec.Command(c.argv[0], append(c.argv[1:], c.way, where, "debug")...).CombinedOutput()
			out := string(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := printed(t, out, c.got)
			r.Until("all that it got was seen", func() bool { return len(seen.of("sent", me)) >= len(want) })
			if got := seen.of("sent", me); !slices.Equal(got, want) || len(want) < 10 {
				t.Errorf("sent %q, it says it got %q", got, want)
			}
			if got, want := seen.of("received", me), printed(t, out, c.sent); !slices.Equal(got, want) {
				t.Errorf("received %q, it says it sent %q", got, want)
			}
		})
	}
}

// A trace is limited to the named master, unit and function, describes frames in words and reports
// when masters connect and disconnect.
func TestATraceIsFiltered(t *testing.T) {
	r := actorstest.New(t)
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, Fill: []*modbusv1.Fill{{Area: "holding", Count: 10}}})
	all := trace(t, r, &modbusv1.MastersServiceTraceRequest{})
	one := uint32(1)
	filtered := trace(t, r, &modbusv1.MastersServiceTraceRequest{Unit: &one, Function: 3, Master: "127.0.0.1"})
	nobody := trace(t, r, &modbusv1.MastersServiceTraceRequest{Master: "192.0.2.1"})
	l := client(t, port)
	ask := func(unit, function uint8, address uint16) {
		_, _ = l.Do(t.Context(), modbus.Request{Unit: unit, Function: function, Address: address, Quantity: 2})
	}
	r.Until("both listen", func() bool {
		ask(1, modbus.ReadHoldingRegisters, 4)
		return len(all.of("sent")) > 0 && len(filtered.of("sent")) > 0
	})
	ask(1, modbus.ReadHoldingRegisters, 6) // requests made before the traces were listening precede this one
	n := 0
	r.Until("that has come", func() bool {
		n = 1 + slices.IndexFunc(all.all(), func(m *modbusv1.MastersServiceTraceResponse) bool {
			return m.Frame.Direction == "sent" && strings.HasPrefix(m.Frame.Text, "read holding registers 6+2")
		})
		return n > 0
	})
	ask(1, modbus.ReadInputRegisters, 4)
	ask(2, modbus.ReadHoldingRegisters, 4)
	ask(1, modbus.ReadHoldingRegisters, 9)
	r.Until("all has come", func() bool { return len(all.all()) >= n+6 && strings.HasPrefix(last(filtered), "exception 2") })
	var said []string
	for _, m := range all.all()[n:] {
		said = append(said, m.Frame.Direction+" "+m.Frame.Text)
	}
	want := []string{
		"received read input registers 4+2", "sent exception 2: illegal data address",
		"received read holding registers 4+2", "sent exception 11: gateway target device failed to respond",
		"received read holding registers 9+2", "sent exception 2: illegal data address",
	}
	if !slices.Equal(said, want) {
		t.Errorf("%q", said)
	}
	for _, m := range filtered.all() {
		if f := m.Frame; f.Direction != "" && (f.Unit != 1 || f.Function != 3 || !strings.HasPrefix(f.Master, "127.0.0.1:")) {
			t.Errorf("%v", f)
		}
	}
	another := client(t, port)
	_, _ = another.Do(t.Context(), modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Quantity: 1})
	r.Until("who comes is told", func() bool { return slices.Contains(texts(all), "connected") })
	if len(nobody.all()) > 0 {
		t.Errorf("%v", nobody.all())
	}
}

func texts(x *tracing) (all []string) {
	for _, m := range x.all() {
		all = append(all, m.Frame.Text)
	}
	return all
}

func last(x *tracing) string {
	all := texts(x)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}
