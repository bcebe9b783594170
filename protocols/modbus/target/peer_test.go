package target_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// servers are third-party servers of unit 7, whose holding registers contain their address.
func servers(t *testing.T) map[string][]string {
	t.Helper()
	return map[string][]string{"libmodbus": peer.Libmodbus(t, "../testdata/server.c"), "pymodbus": peer.Pymodbus(t, "../testdata/server.py")}
}

// reads repeats a read until it succeeds, because a server may still be starting.
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
			peer.Start(t, append(server, "tcp", port)...)
			reads(t, "tcp://127.0.0.1:"+port+"/7")
		})
		t.Run(name+"/rtu", func(t *testing.T) {
			near, far := peer.Cable(t)
			peer.Start(t, append(server, "rtu", far)...)
			reads(t, "rtu://"+near+"/7?baud=19200&parity=none")
		})
	}
	t.Run("pymodbus/ascii", func(t *testing.T) {
		near, far := peer.Cable(t)
		peer.Start(t, append(servers(t)["pymodbus"], "ascii", far)...)
		reads(t, "ascii://"+near+"/7?baud=19200")
	})
	t.Run("pymodbus/udp", func(t *testing.T) {
		port := freeport.Port(t)
		peer.Start(t, "/usr/bin/python3", "../dial/testdata/peer.py", "server", "udp", port)
		reads(t, "udp://127.0.0.1:"+port+"/7")
	})
}

// A failure is reported in one line, including whether the outcome of a write is unknown.
func TestSaysWhatWentWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections and sends nothing
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
