package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only ends tests that hang.
const patience = 2 * time.Minute

// registers answers reads with zeros. It takes over writes to unit 9 and passes them to the test.
type registers struct {
	taken chan *server.Deferred
	asked atomic.Int64
}

func (h *registers) Handle(dst []byte, q *server.Query) []byte {
	h.asked.Add(1)
	switch {
	case q.Refused != nil:
		return modbus.AppendException(dst, q.PDU[0], q.Refused.Code)
	case q.Unit == 13:
		panic("thirteen")
	case q.Unit == 9:
		h.taken <- q.Defer()
		return dst
	}
	a := modbus.Response{}
	if !q.Write() {
		a.Data = make([]byte, 2*q.Quantity)
	}
	pdu, err := modbus.AppendResponse(dst, q.Request, a)
	if err != nil {
		return modbus.AppendException(dst, q.Function, modbus.DeviceFailure)
	}
	return pdu
}

// started returns a server with one TCP door.
func started(t testing.TB, cfg server.Config, f modbus.Framing) (*server.Server, *registers, string) {
	t.Helper()
	h := &registers{taken: make(chan *server.Deferred, 1024)}
	s := server.New(cfg, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(l, server.Door{Name: "test", Framing: f}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, h, l.Addr().String()
}

func dial(t testing.TB, at string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

func read(unit uint8, quantity uint16) modbus.Request {
	return modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Quantity: quantity, Timeout: patience}
}

func frame(f modbus.Framing, id uint16, r modbus.Request) []byte {
	return modbus.AppendFrame(nil, f, id, r.Unit, modbus.AppendRequest(nil, r))
}

// closed reports whether the far end has closed the connection, whatever it sent before.
func closed(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err == nil || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func works(t testing.TB, c net.Conn, f modbus.Framing) {
	t.Helper()
	if _, err := modbus.NewLink(c, f, modbus.Options{}).Do(context.Background(), read(1, 10)); err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	s, _, at := started(t, server.Config{Masters: 3, PerAddress: 2}, modbus.TCP)
	a, b := dial(t, at), dial(t, at)
	works(t, a, modbus.TCP)
	works(t, b, modbus.TCP)
	if c := dial(t, at); !closed(c) {
		t.Error("a third connection from one address is let in")
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for i, want := range []bool{true, false} {
		c, err := other.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if want {
			works(t, c, modbus.TCP)
		} else if !closed(c) {
			t.Errorf("connection %d is let in", 3+i)
		}
	}
	if n := s.Counts(); n.Refused != 2 || n.Accepted != 3 || len(s.Masters()) != 3 {
		t.Errorf("counted %+v", n)
	}
	_ = a.Close()
	until(t, "its place is free", func() bool { return len(s.Masters()) == 2 })
	works(t, dial(t, at), modbus.TCP)
}

func TestWhoAsksNothingIsCut(t *testing.T) {
	s, _, at := started(t, server.Config{Idle: 2 * time.Second}, modbus.RTUOverTCP)
	c := dial(t, at)
	works(t, c, modbus.RTUOverTCP)
	go func() { // a byte now and then is not a request
		for {
			if _, err := c.Write([]byte{0}); err != nil {
				return
			}
			<-time.After(10 * time.Millisecond)
		}
	}()
	if !closed(c) {
		t.Error("it is still there")
	}
	until(t, "counted", func() bool { return s.Counts().Idle == 1 })
}

func TestWhoTakesNoAnswersIsCut(t *testing.T) {
	s, _, at := started(t, server.Config{Slow: 200 * time.Millisecond}, modbus.TCP)
	c := dial(t, at)
	many := bytes.Repeat(frame(modbus.TCP, 1, read(1, 125)), 100)
	for {
		if _, err := c.Write(many); err != nil {
			break
		}
	}
	until(t, "counted", func() bool { return s.Counts().Slow == 1 && len(s.Masters()) == 0 })
}

func TestGarbageIsCut(t *testing.T) {
	for _, f := range []modbus.Framing{modbus.TCP, modbus.RTUOverTCP} {
		s, _, at := started(t, server.Config{}, f)
		c := dial(t, at)
		_, _ = c.Write(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 100))
		if !closed(c) {
			t.Errorf("%v: it is still there", f)
		}
		until(t, "counted", func() bool { return s.Counts().Garbled == 1 })
	}
}

func TestRequestsUnderWayAreLimited(t *testing.T) {
	s, h, at := started(t, server.Config{InFlight: 4}, modbus.TCP)
	c := dial(t, at)
	for id := range uint16(20) {
		_, _ = c.Write(frame(modbus.TCP, id, read(9, 1)))
	}
	var first []*server.Deferred
	for range 4 {
		first = append(first, <-h.taken)
	}
	works(t, dial(t, at), modbus.TCP) // others are not affected
	if n := s.Masters(); h.asked.Load() != 5 {
		t.Errorf("%d requests were let in: %+v", h.asked.Load()-1, n)
	}
	first[2].Refuse(modbus.DeviceBusy)
	(<-h.taken).Refuse(modbus.DeviceBusy)
	answers := make([]byte, 18)
	if _, err := io.ReadFull(c, answers); err != nil || answers[1] != 2 || answers[10] != 4 {
		t.Errorf("answered %x %v", answers, err)
	}
	first[2].Refuse(modbus.DeviceBusy) // only the first answer counts
	_ = c.Close()
	first[0].Refuse(modbus.DeviceBusy) // nobody waits for it
	until(t, "it is gone", func() bool {
		for len(h.taken) > 0 {
			(<-h.taken).Refuse(modbus.DeviceBusy)
		}
		return len(s.Masters()) == 1
	})
	if !first[1].Gone() {
		t.Error("somebody waits still")
	}
	first[1].Refuse(modbus.DeviceBusy)
}

// Without transaction ids, a late answer would be taken for another one.
func TestWhoAsksAnewHasGivenUp(t *testing.T) {
	_, h, at := started(t, server.Config{}, modbus.RTUOverTCP)
	c := dial(t, at)
	_, _ = c.Write(frame(modbus.RTUOverTCP, 0, read(9, 1)))
	old := <-h.taken
	works(t, c, modbus.RTUOverTCP)
	if !old.Gone() {
		t.Error("the first request still waits")
	}
	old.Reply([]byte{3, 2, 0xba, 0xad})
	works(t, c, modbus.RTUOverTCP)
}

func TestAPanicCostsOneConnection(t *testing.T) {
	s, _, at := started(t, server.Config{}, modbus.TCP)
	a, b := dial(t, at), dial(t, at)
	_, _ = a.Write(frame(modbus.TCP, 1, read(13, 1)))
	if !closed(a) {
		t.Error("it is still there")
	}
	works(t, b, modbus.TCP)
	if s.Counts().Panics != 1 {
		t.Error("not counted")
	}
}

func TestManyAtOnce(t *testing.T) {
	s, h, at := started(t, server.Config{Masters: 100, PerAddress: 100}, modbus.TCP)
	var helpers, all sync.WaitGroup
	for range 4 {
		helpers.Go(func() {
			for l := range h.taken {
				l.Reply([]byte{3, 2, 1, 2})
			}
		})
	}
	for i := range 50 {
		c := dial(t, at)
		all.Go(func() {
			l := modbus.NewLink(c, modbus.TCP, modbus.Options{})
			for k := range 100 {
				unit := uint8(1)
				if (i+k)%3 == 0 {
					unit = 9
				}
				if _, err := l.Do(context.Background(), read(unit, 1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(h.taken)
	helpers.Wait()
	if n := s.Counts(); n.Requests != 5000 || n.Exceptions != 0 || n.Panics != 0 {
		t.Errorf("counted %+v", n)
	}
}
