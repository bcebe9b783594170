package server_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/creack/pty"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/serial"
)

// fixed answers every read of registers with a number.
type fixed byte

func (f fixed) Handle(dst []byte, q *server.Query) []byte {
	if q.Refused != nil || q.Write() {
		return modbus.AppendException(dst, q.PDU[0], modbus.IllegalFunction)
	}
	return append(dst, q.Function, 2, 0, byte(f))
}

func nobody(server.Port, error) {}

// tells returns what a master reads; -1: nothing.
func tells(t testing.TB, l *modbus.Link) int {
	t.Helper()
	a, err := l.Do(context.Background(), read(1, 1))
	if err != nil {
		return -1
	}
	return int(a.Register(0))
}

func TestMastersStayWhoseDoorStays(t *testing.T) {
	a, b, c := freeport.Address(t), freeport.Address(t), freeport.Address(t)
	way := func(at string, f modbus.Framing) server.TCP { return server.TCP{Listen: at, Framing: f} }
	s, err := server.Open(server.Config{Masters: 3}, fixed(1), []server.TCP{way(a, modbus.TCP), way(b, modbus.RTUOverTCP)}, nil, nobody)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	link := func(at string, f modbus.Framing) *modbus.Link {
		return modbus.NewLink(dial(t, at), f, modbus.Options{})
	}
	atA, atB := link(a, modbus.TCP), link(b, modbus.RTUOverTCP)
	expect := func(what string, l *modbus.Link, want int) {
		t.Helper()
		if got := tells(t, l); got != want {
			t.Errorf("%s: got %d, want %d", what, got, want)
		}
	}
	expect("a", atA, 1)
	expect("b", atB, 1)

	if err := s.Change(server.Config{Masters: 2}, fixed(2), []server.TCP{way(a, modbus.TCP), way(c, modbus.TCP)}, nil, nobody); err != nil {
		t.Fatal(err)
	}
	expect("the door stays", atA, 2)
	expect("the door has gone", atB, -1)
	if conn, err := net.Dial("tcp", b); err == nil {
		_ = conn.Close()
		t.Error("somebody still listens where no door is")
	}
	until(t, "the master of b has left", func() bool { return len(s.Masters()) == 1 })
	atC := link(c, modbus.TCP)
	expect("a new door", atC, 2)
	if !closed(dial(t, a)) {
		t.Error("a third master is let in where two may be")
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if s.Change(server.Config{}, fixed(3), []server.TCP{way(b, modbus.TCP), way(taken.Addr().String(), modbus.TCP)}, nil, nobody) == nil {
		t.Error("a port that somebody else has is no error")
	}
	if s.Change(server.Config{}, fixed(3), []server.TCP{way(b, modbus.TCP), way(b, modbus.RTUOverTCP)}, nil, nobody) == nil {
		t.Error("two doors at one address are no error")
	}
	expect("a change that failed", atA, 2)
	expect("a change that failed", atC, 2)

	if err := s.Change(server.Config{}, fixed(4), []server.TCP{way(a, modbus.RTUOverTCP)}, nil, nobody); err != nil {
		t.Fatal(err)
	}
	expect("another framing", atA, -1)
	expect("another framing", link(a, modbus.RTUOverTCP), 4)
	if n := s.Counts(); n.Panics > 0 {
		t.Errorf("counted %+v", n)
	}
}

// A change while the server closes leaves nothing behind.
func TestAChangeOfWhatIsClosed(t *testing.T) {
	for range 50 {
		s := server.New(server.Config{}, fixed(1))
		done := make(chan error)
		go func() {
			done <- s.Change(server.Config{}, fixed(2), []server.TCP{{Listen: "127.0.0.1:0", Framing: modbus.TCP}}, nil, nobody)
		}()
		_ = s.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// A serial port that stays is not closed; one with other settings is closed and opened again.
func TestPortsChange(t *testing.T) {
	_, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	opened := make(chan int, 8)
	port := func(baud int) []server.Port {
		return []server.Port{{Config: serial.Config{Path: slave.Name(), Baud: baud, DataBits: 8, Parity: "none", StopBits: 2}, Framing: modbus.RTU}}
	}
	said := func(p server.Port, err error) {
		if err != nil {
			t.Errorf("%d baud: %v", p.Baud, err)
		}
		opened <- p.Baud
	}
	s, err := server.Open(server.Config{}, fixed(1), nil, port(9600), said)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if got := <-opened; got != 9600 {
		t.Errorf("opened with %d baud", got)
	}
	for _, baud := range []int{9600, 19200} {
		if err := s.Change(server.Config{}, fixed(1), nil, port(baud), said); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-opened; got != 19200 {
		t.Errorf("opened with %d baud", got)
	}
	if len(s.Masters()) != 1 {
		t.Errorf("masters: %v", s.Masters())
	}
	if err := s.Change(server.Config{}, fixed(1), nil, nil, said); err != nil || len(s.Masters()) != 0 {
		t.Errorf("%v, masters: %v", err, s.Masters())
	}
}
