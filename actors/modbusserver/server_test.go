package modbusserver_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusserver"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial"
	erraticv1 "gatewayd/schemas/erratic/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const (
	linkPath  = "field/plant/link"
	meterPath = "field/plant/meter"
	path      = "scada"
)

func ms(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

// meter starts a device, the link to it and the unit that polls it.
func meter(t *testing.T, r *actorstest.Rig) *sim.Device {
	t.Helper()
	d := sim.NewDevice(7)
	d.Put(sim.HoldingRegisters, 0, make([]uint16, 100)...)
	d.Put(sim.Coils, 0, make([]uint16, 10)...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = sim.NewPlant(d).ServeTCP(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: l.Addr().String(), MaxBackoff: ms(200)})
	bit := func(n uint32) *uint32 { return &n }
	unit := &modbusv1.Unit{Link: linkPath, Unit: 7, Every: ms(20), Timeout: ms(5000), MaxBackoff: ms(200), Points: []*modbusv1.Point{
		{Name: "power", Address: 10, Type: "uint16", Scale: 0.1},
		{Name: "energy", Address: 20, Type: "uint32"},
		{Name: "count", Address: 30, Type: "int64"},
		{Name: "mode", Address: 3, Type: "bool", Bit: bit(1)},
		{Name: "label", Address: 40, Type: "string", Length: 4},
		{Name: "relay", Address: 4, Area: "coil"},
	}}
	r.Start(meterPath, modbusunit.Kind, unit)
	return d
}

// config shows the points of the meter with another order, type and address.
func config(port string) *modbusv1.Server {
	return &modbusv1.Server{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}},
		Points: []*modbusv1.ServedPoint{
			{From: meterPath, Point: "power", Address: 100, Type: "float32", Order: "cdab", Writable: true},
			{From: meterPath, Point: "energy", Address: 102, Type: "uint32", Writable: true},
			{From: meterPath, Point: "count", Address: 104, Type: "int64", Writable: true},
			{From: meterPath, Point: "mode", Address: 3, Area: "discrete-input"},
			{From: meterPath, Point: "label", Address: 108, Type: "string", Length: 4, Writable: true},
			{From: meterPath, Point: "relay", Address: 9, Area: "coil", Writable: true},
			{From: meterPath, Point: "power", Address: 7, Area: "input", Type: "int16", Scale: 0.1},
		},
		Fill: []*modbusv1.Fill{{Address: 90, Count: 10}},
	}
}

// begin starts the server and waits until it listens.
func begin(t testing.TB, r *actorstest.Rig, cfg *modbusv1.Server) *actors.Cell {
	t.Helper()
	cell := r.Start(path, modbusserver.Kind, cfg)
	r.Until("listening", func() bool { return cell.State() == actors.OK })
	return cell
}

// client connects the Modbus client of this repository as a master.
func client(t testing.TB, port string) *modbus.Link {
	t.Helper()
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return modbus.NewLink(conn, modbus.TCP, modbus.Options{Timeout: actorstest.Patience})
}

// reads repeats a request until the answer is as wanted, since samples may not have arrived yet.
func reads(t testing.TB, r *actorstest.Rig, l *modbus.Link, q modbus.Request, want func(modbus.Response) bool) {
	t.Helper()
	r.Until("the value is read", func() bool {
		a, err := l.Do(context.Background(), q)
		return err == nil && want(a)
	})
}

func holding(address, quantity uint16) modbus.Request {
	return modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: quantity}
}

func TestMbpollReadsWhatAMeterJustProduced(t *testing.T) {
	mbpoll, err := exec.LookPath("mbpoll")
	if err != nil {
		t.Fatal("mbpoll is missing: apt-get install -y mbpoll")
	}
	r := actorstest.New(t)
	d := meter(t, r)
	port := freeport.Port(t)
	cfg := config(port)
	cfg.Missing, cfg.WriteTimeout = "last", ms(20_000)
	begin(t, r, cfg)
	d.Put(sim.HoldingRegisters, 10, 4321)
	reads(t, r, client(t, port), holding(100, 2), func(a modbus.Response) bool { return a.Register(1) == 0x43d8 })
	out, err := exec.Command(mbpoll, "-m", "tcp", "-o", "10", "-p", port, "-a", "1", "-0", "-1", "-r", "100", "-c", "1", "-t", "4:float", "127.0.0.1").CombinedOutput()
	if err != nil || !strings.Contains(strings.Join(strings.Fields(string(out)), " "), "[100]: 432.1") {
		t.Errorf("mbpoll read %v: %s", err, out)
	}
	out, err = exec.Command(mbpoll, "-m", "tcp", "-o", "10", "-p", port, "-a", "1", "-0", "-1", "-r", "100", "-t", "4:float", "127.0.0.1", "--", "98.7").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Written 1 references") {
		t.Errorf("mbpoll wrote %v: %s", err, out)
	}
	if v, _ := d.Get(sim.HoldingRegisters, 10, 1); v[0] != 987 {
		t.Errorf("the meter holds %d", v[0])
	}
}

var kind = modbusserver.Kind

func TestManners(t *testing.T) {
	others := []actors.Kind{modbusunit.Kind, tcplink.Kind, serialline.Kind}
	actorstest.Conform(t, modbusserver.Kind, config(freeport.Port(t)), others...)
}

// Firewalls and audits know a master at a serial port by the name of the port.
func TestMasterAtASerialPort(t *testing.T) {
	r := actorstest.New(t)
	callers := make(chan string, 4)
	r.Start("field/plc", actors.Define(actors.Kind{
		Name: "plc", Doc: "tells who calls", Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return teller(callers) }), &structpb.Struct{})
	near, far := peer.Cable(t)
	here := filepath.Join(t.TempDir(), "ttyS1")
	if err := os.Symlink(far, here); err != nil {
		t.Fatal(err)
	}
	cell := r.Start(path, modbusserver.Kind, &modbusv1.Server{
		Serial: []*modbusv1.SerialDoor{{Port: here, Parity: "none"}},
		Points: []*modbusv1.ServedPoint{{From: "field/plc", Point: "x", Call: "field/plc/Misbehave", Request: `{"how":"leak"}`}},
	})
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	tty, err := serial.Open(serial.Config{Path: near, Baud: 19200, StopBits: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	l := modbus.NewLink(tty, modbus.RTU, modbus.Options{Baud: 19200, Timeout: actorstest.Patience})
	if _, err := l.Do(context.Background(), modbus.Request{Unit: 1, Function: modbus.WriteSingleRegister, Quantity: 1, Data: []byte{0, 1}}); err != nil {
		t.Error(err)
	}
	if got := actorstest.Next(t, callers); got != "master/ttyS1" {
		t.Errorf("the caller is %q", got)
	}
}

// teller answers calls and reports the identity of the caller.
type teller chan string

func (c teller) Receive(x *actors.Context, msg any) error {
	if _, ok := msg.(*erraticv1.MisbehaveRequest); ok {
		c <- x.Caller().Identity
		x.Reply(&erraticv1.MisbehaveResponse{})
	}
	return nil
}

// A serial port that does not exist yet is opened when it appears; meanwhile the other ports are
// open.
func TestASerialPortThatComesLater(t *testing.T) {
	r := actorstest.New(t)
	near, far := peer.Cable(t)
	port, here := freeport.Port(t), filepath.Join(t.TempDir(), "ttyUSB0")
	cell := r.Start(path, modbusserver.Kind, &modbusv1.Server{
		Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}},
		Serial: []*modbusv1.SerialDoor{{Port: here, Parity: "none"}}, Fill: []*modbusv1.Fill{{Count: 10}},
	})
	r.Until("degraded", func() bool { return cell.State() == actors.Degraded })
	if _, err := client(t, port).Do(context.Background(), holding(0, 10)); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(far, here); err != nil {
		t.Fatal(err)
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	tty, err := serial.Open(serial.Config{Path: near, Baud: 19200, StopBits: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	l := modbus.NewLink(tty, modbus.RTU, modbus.Options{Baud: 19200, Timeout: actorstest.Patience})
	if a, err := l.Do(context.Background(), holding(0, 10)); err != nil || len(a.Data) != 20 {
		t.Errorf("%v %v", a, err)
	}
	other := holding(0, 1)
	other.Unit, other.Timeout = 2, 200*time.Millisecond
	if _, err := l.Do(context.Background(), other); !errors.Is(err, modbus.ErrTimeout) {
		t.Errorf("it answers for another unit: %v", err)
	}
}
