package modbusgateway_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusgateway"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	linePath = "field/rs485-1/line"
	linkPath = "field/plc/link"
	path     = "shared"
)

func ms(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

func unit(n uint32) *uint32 { return &n }

// device returns a device whose registers 0 to 199 hold their own address plus base.
func device(unit uint8, base uint16) *sim.Device {
	d := sim.NewDevice(unit)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, base+i)
		d.Put(sim.InputRegisters, i, base+1000+i)
	}
	for i := range uint16(100) {
		on := uint16(0)
		if i%3 == 0 {
			on = 1
		}
		d.Put(sim.Coils, i, on)
		d.Put(sim.DiscreteInputs, i, 1-on)
	}
	return d
}

// equipped returns a device that supports all functions.
func equipped(unit uint8) *sim.Device {
	d := device(unit, 0)
	d.Status(0x6d)
	d.ServerID('m', 'e', 't', 'e', 'r', 0xff, 'v', '1')
	d.Queue(1246, 440, 4740)
	d.File(3, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	d.File(4, 0, 0x0dfe, 0x0020)
	objects := map[uint8]string{0: "Acme", 1: "M-1", 2: "V1.0", 3: "http://acme.example", 4: "Meter", 5: "M"}
	for i := range uint8(4) {
		objects[0x80+i] = strings.Repeat(string('a'+rune(i)), 100)
	}
	d.Identity(objects)
	return d
}

// rs485 starts a serial line with devices on it.
func rs485(t testing.TB, r *actorstest.Rig, devices ...*sim.Device) {
	t.Helper()
	wired(t, r, &modbusv1.SerialLine{Baud: 115200, Turnaround: ms(5)}, devices...)
}

// wired starts a serial line with a config of its own and devices on it.
func wired(t testing.TB, r *actorstest.Rig, cfg *modbusv1.SerialLine, devices ...*sim.Device) {
	t.Helper()
	near, far := peer.Cable(t)
	f, err := os.OpenFile(far, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	tio, err := unix.IoctlGetTermios(int(fdOf(t, f)), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(int(fdOf(t, f)), unix.TCSETS, tio); err != nil {
		t.Fatal(err)
	}
	framing := modbus.RTU
	if cfg.Framing == "ascii" {
		framing = modbus.ASCII
	}
	serve(t, func(ctx context.Context) error { return sim.NewPlant(devices...).ServeStream(ctx, f, framing) })
	cfg.Port = near
	r.Start(linePath, serialline.Kind, cfg)
}

func fdOf(t testing.TB, f *os.File) (fd uintptr) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(n uintptr) { fd = n })
	return fd
}

// plc starts a TCP link with devices behind it.
func plc(t testing.TB, r *actorstest.Rig, devices ...*sim.Device) *sim.Plant {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := sim.NewPlant(devices...)
	serve(t, func(ctx context.Context) error { return p.ServeTCP(ctx, l) })
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String(), MaxBackoff: ms(200)})
	return p
}

// behind starts a TCP link to a serial device server with devices on its line.
func behind(t testing.TB, r *actorstest.Rig, framing string, devices ...*sim.Device) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := map[string]modbus.Framing{"rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP}[framing]
	serve(t, func(ctx context.Context) error { return sim.NewPlant(devices...).Serve(ctx, l, f) })
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String(), Framing: framing, MaxBackoff: ms(200)})
}

func serve(t testing.TB, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = fn(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// begin starts the gateway with a TCP port and waits until it listens.
func begin(t testing.TB, r *actorstest.Rig, cfg *modbusv1.Gateway) (port string) {
	t.Helper()
	port = freeport.Port(t)
	cfg.Tcp = append(cfg.Tcp, &modbusv1.TcpDoor{Listen: "127.0.0.1:" + port})
	cell := r.Start(path, modbusgateway.Kind, cfg)
	r.Until("listening", func() bool { return cell.State() == actors.OK })
	r.Until("the serial ports are open", func() bool { // until then the terminals echo
		m, err := actorstest.Call(r, path, "Masters", &modbusv1.MastersRequest{}, &modbusv1.MastersResponse{})
		return err == nil && len(m.Masters) == len(cfg.Serial)
	})
	return port
}

// master connects the Modbus client of this repository as a master.
func master(t testing.TB, port string, f modbus.Framing) *modbus.Link {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return modbus.NewLink(conn, f, modbus.Options{Timeout: actorstest.Patience})
}

func read(unit uint8, address, quantity uint16) modbus.Request {
	return modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: quantity}
}

func write(unit uint8, address uint16, value byte) modbus.Request {
	return modbus.Request{Unit: unit, Function: modbus.WriteSingleRegister, Address: address, Data: []byte{0, value}}
}

// expect makes one request. Code 0 expects an answer that begins with value.
func expect(t testing.TB, l *modbus.Link, q modbus.Request, code uint8, value uint16) {
	t.Helper()
	a, err := l.Do(context.Background(), q)
	var e *modbus.Exception
	switch {
	case code != 0 && (!errors.As(err, &e) || e.Code != code):
		t.Errorf("%v: got %v, want exception %d", q, err, code)
	case code == 0 && err != nil:
		t.Errorf("%v: %v", q, err)
	case code == 0 && len(a.Data) > 1 && a.Register(0) != value:
		t.Errorf("%v: got %d, want %d", q, a.Register(0), value)
	}
}

func traffic(t testing.TB, r *actorstest.Rig) *modbusv1.TrafficResponse {
	t.Helper()
	n, err := actorstest.Call(r, path, "Traffic", &modbusv1.TrafficRequest{}, &modbusv1.TrafficResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRoutesAndModes(t *testing.T) {
	r := actorstest.New(t)
	meters := []*sim.Device{device(1, 0), device(2, 2000), device(3, 3000)}
	rs485(t, r, meters...)
	plc(t, r, device(1, 5000), device(7, 7000))
	port := begin(t, r, &modbusv1.Gateway{Routes: []*modbusv1.Route{
		{First: 0, Link: linePath},
		{First: 11, Last: unit(13), Link: linePath, Unit: unit(1), Timeout: ms(20_000)},
		{First: 20, Link: linkPath, Unit: unit(7), Mode: "read-only", Timeout: ms(20_000)},
		{First: 21, Link: linkPath, Unit: unit(7), Mode: "swallow", Timeout: ms(20_000)},
		{First: 22, Link: linkPath, Unit: unit(7), Mode: "deny"},
		{First: 23, Link: linePath, Timeout: ms(50)},
		{First: 24, Link: linkPath},
	}})
	l := master(t, port, modbus.TCP)
	expect(t, l, read(11, 10, 5), 0, 10)
	expect(t, l, read(12, 10, 125), 0, 2010)
	expect(t, l, read(13, 10, 1), 0, 3010)
	expect(t, l, write(13, 10, 77), 0, 0)
	expect(t, l, read(13, 10, 1), 0, 77)
	expect(t, l, read(13, 5000, 1), modbus.IllegalAddress, 0)
	expect(t, l, write(0, 11, 99), 0, 0)
	expect(t, l, read(0, 11, 1), modbus.GatewayTarget, 0) // broadcasts are not answered
	r.Until("the broadcast arrives", func() bool { v, _ := meters[1].Get(sim.HoldingRegisters, 11, 1); return v[0] == 99 })
	expect(t, l, read(20, 1, 1), 0, 7001)
	expect(t, l, write(20, 1, 5), modbus.IllegalFunction, 0)
	expect(t, l, write(21, 1, 5), 0, 0)
	expect(t, l, modbus.Request{Unit: 21, Function: modbus.ReadWriteMultipleRegisters, Address: 1, Quantity: 2, WriteAddress: 1, Data: []byte{0, 9}}, 0, 7001)
	expect(t, l, read(21, 1, 1), 0, 7001)
	expect(t, l, read(22, 1, 1), modbus.IllegalFunction, 0)
	expect(t, l, read(23, 1, 1), modbus.GatewayTarget, 0)
	expect(t, l, read(24, 1, 1), modbus.GatewayTarget, 0)
	expect(t, l, read(30, 1, 1), modbus.GatewayPath, 0)
	n := traffic(t, r)
	if n.Swallowed != 2 || n.Forbidden != 2 || n.Unrouted != 1 || n.Silent != 3 {
		t.Errorf("counted %v", n)
	}
}

func TestManners(t *testing.T) {
	cfg := &modbusv1.Gateway{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + freeport.Port(t)}}, Routes: []*modbusv1.Route{{First: 1, Link: linePath}},
	}
	actorstest.Conform(t, modbusgateway.Kind, cfg, serialline.Kind, tcplink.Kind)
}
