package target_test

import (
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/target"
	"gatewayd/protocols/serial/line"
)

const aptPeers = "apt-get install -y gcc libc6-dev libmodbus-dev python3-pymodbus python3-serial"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// servers are other makers' servers of unit 7, whose holding registers hold their address.
func servers(t *testing.T) map[string][]string {
	t.Helper()
	compiled := filepath.Join(t.TempDir(), "server")
	if text, err := exec.Command("gcc", "-o", compiled, "../testdata/server.c", "-I/usr/include/modbus", "-lmodbus").CombinedOutput(); err != nil {
		t.Fatalf("compiling against libmodbus (%s): %v\n%s", aptPeers, err, text)
	}
	const python = "/usr/bin/python3"
	if text, err := exec.Command(python, "-c", "import pymodbus, serial").CombinedOutput(); err != nil {
		t.Fatalf("pymodbus is missing: %s\n%s", aptPeers, text)
	}
	return map[string][]string{"libmodbus": {compiled}, "pymodbus": {python, "../testdata/server.py"}}
}

func start(t *testing.T, argv ...string) {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	text := &strings.Builder{}
	c.Stdout, c.Stderr = text, text
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", argv, text)
		}
	})
}

// cable is two ports that hear each other.
func cable(t *testing.T) (near, far string) {
	t.Helper()
	var paths [2]string
	var taps [2]*line.Tap
	for i := range taps {
		l, err := line.New(line.Options{Dir: t.TempDir(), Name: "tty"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		paths[i], taps[i] = l.Path(), l.Tap()
	}
	for i := range taps {
		go func() { _, _ = io.Copy(taps[i], taps[1-i]) }()
	}
	return paths[0], paths[1]
}

// reads asks until somebody is there, for a server may be just starting.
func reads(t *testing.T, text string) {
	t.Helper()
	to, err := target.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; {
		err := ask(to)
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func ask(to target.Target) error {
	w, err := to.Open(context.Background(), time.Second)
	if err != nil {
		return err
	}
	defer w.Close()
	write := modbus.Request{Function: modbus.WriteSingleRegister, Address: 5, Quantity: 1, Data: []byte{0x12, 0x34}}
	if _, err := w.Do(context.Background(), write); err != nil {
		return err
	}
	got, err := w.Do(context.Background(), modbus.Request{Function: modbus.ReadHoldingRegisters, Address: 4, Quantity: 2})
	if err == nil && (got.Register(0) != 4 || got.Register(1) != 0x1234) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func TestReachesOtherMakersServers(t *testing.T) {
	for name, server := range servers(t) {
		t.Run(name+"/tcp", func(t *testing.T) {
			port := freeport.Port(t)
			start(t, append(server, "tcp", port)...)
			reads(t, "tcp://127.0.0.1:"+port+"/7")
		})
		t.Run(name+"/rtu", func(t *testing.T) {
			near, far := cable(t)
			start(t, append(server, "rtu", far)...)
			reads(t, "rtu://"+near+"/7?baud=19200&parity=none")
		})
	}
	t.Run("pymodbus/ascii", func(t *testing.T) {
		near, far := cable(t)
		start(t, append(servers(t)["pymodbus"], "ascii", far)...)
		reads(t, "ascii://"+near+"/7?baud=19200")
	})
	t.Run("pymodbus/udp", func(t *testing.T) {
		port := freeport.Port(t)
		start(t, "/usr/bin/python3", "../dial/testdata/peer.py", "server", "udp", port)
		reads(t, "udp://127.0.0.1:"+port+"/7")
	})
}

// What went wrong is said in one line, and of a write that nobody knows what became of it.
func TestSaysWhatWentWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := target.Parse("tcp://" + l.Addr().String() + "/7")
	if err != nil {
		t.Fatal(err)
	}
	w, err := to.Open(context.Background(), 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_, err = w.Do(context.Background(), modbus.Request{Function: modbus.WriteSingleRegister, Quantity: 1, Data: []byte{0, 1}})
	if want := "unit 7: write register 0: no answer within 50ms: the write may or may not have been carried out"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
