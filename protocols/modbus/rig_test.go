package modbus_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(wireDir); dir != "" {
		serveWire(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var framings = []modbus.Framing{modbus.RTU, modbus.ASCII, modbus.TCP, modbus.RTUOverTCP, modbus.ASCIIOverTCP}

// tty returns a raw pty: the two ends of a serial line without timing.
func tty(t testing.TB) (near, far *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	far = os.NewFile(uintptr(fd), "/dev/ptmx")
	t.Cleanup(func() { _ = far.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	near, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	raw(t, fd)
	return near, far
}

func raw(t testing.TB, fd int) {
	t.Helper()
	tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tio.Iflag, tio.Oflag, tio.Lflag = 0, 0, 0
	tio.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, tio); err != nil {
		t.Fatal(err)
	}
}

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close(); _ = far.Close() })
	return near, far
}

// ends returns the two ends of a new medium for the framing.
func ends(t testing.TB, f modbus.Framing) (near, far modbus.Conn) {
	t.Helper()
	if f == modbus.RTU || f == modbus.ASCII {
		return tty(t)
	}
	return tcpPair(t)
}

// serve runs the plant on far until the test ends.
func serve(t testing.TB, p *sim.Plant, far modbus.Conn, f modbus.Framing) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.ServeStream(ctx, far, f) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
}

// linked returns a Link to a plant over a new medium.
func linked(t testing.TB, p *sim.Plant, f modbus.Framing, o modbus.Options) *modbus.Link {
	t.Helper()
	near, far := ends(t, f)
	serve(t, p, far, f)
	return modbus.NewLink(near, f, o)
}

// calm is like ends, for virtual time (within testing/synctest), where nothing is lost or delayed
// by itself.
func calm(t testing.TB) (near, far modbus.Conn) {
	a, b := net.Pipe()
	p := &port{Conn: a, wake: make(chan struct{}, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for chunk := make([]byte, 512); ; {
			n, err := a.Read(chunk)
			if err != nil {
				p.end()
				return
			}
			p.receive(chunk[:n], 0)
		}
	}()
	t.Cleanup(func() { _, _ = a.Close(), b.Close(); <-over })
	return p, b
}

// meter returns a device with registers 0..199 that contain their own address (inputs: plus 1000)
// and coils 0..99 of which every third is on.
func meter(unit uint8) *sim.Device {
	d := sim.NewDevice(unit)
	for i := range uint16(200) {
		d.Put(sim.HoldingRegisters, i, i)
		d.Put(sim.InputRegisters, i, 1000+i)
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

func read(unit uint8, address, quantity uint16) modbus.Request {
	return modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: quantity, Timeout: 20 * time.Second}
}

// checkMeter fails if an answer differs from the contents of the meter's registers.
func checkMeter(t testing.TB, r modbus.Request, got modbus.Response) {
	t.Helper()
	if len(got.Data) != 2*int(r.Quantity) {
		t.Fatalf("%v: %d bytes", r, len(got.Data))
	}
	for i := range int(r.Quantity) {
		if got.Register(i) != r.Address+uint16(i) {
			t.Fatalf("%v: register %d holds %d", r, int(r.Address)+i, got.Register(i))
		}
	}
}
