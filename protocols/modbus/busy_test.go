package modbus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

// lateConn simulates a connection on a machine so busy that the process runs only after both the
// answer has arrived and the deadline has passed: the runtime then reports the deadline.
type lateConn struct {
	*net.TCPConn
	t     *testing.T
	asked *atomic.Bool // an answer is due
	more  time.Duration
}

func newLateConn(t *testing.T, c net.Conn) lateConn {
	return lateConn{c.(*net.TCPConn), t, &atomic.Bool{}, 0}
}

func (c lateConn) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.TCPConn.Write(b)
}

func (c lateConn) Read(b []byte) (int, error) {
	c.sleep()
	return c.TCPConn.Read(b)
}

// sleep waits until the answer can be read, for some more time, and until the deadline has passed.
func (c lateConn) sleep() {
	if !c.asked.Swap(false) {
		return
	}
	raw, err := c.TCPConn.SyscallConn()
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
			return err == nil
		})
	}
	time.Sleep(c.more)
	if err == nil {
		err = c.SetReadDeadline(time.Unix(1, 0))
	}
	if err != nil {
		c.t.Error(err)
	}
}

// lateRaw is lateConn for readers that can check for available data.
type lateRaw struct{ lateConn }

func (c lateRaw) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return lateRawConn{raw, c.lateConn}, err
}

type lateRawConn struct {
	syscall.RawConn
	conn lateConn
}

// Read calls fn once before it sleeps: a function that asks to be called again waits for an answer.
func (r lateRawConn) Read(fn func(fd uintptr) bool) error {
	done := false
	if err := r.RawConn.Control(func(fd uintptr) { done = fn(fd) }); err != nil || done {
		return err
	}
	r.conn.asked.Store(true)
	r.conn.sleep()
	return r.RawConn.Read(fn)
}

// deaf hides that a conn can check for available data.
type deaf struct{ modbus.Conn }

func TestAnAnswerThatIsThereIsNoTimeout(t *testing.T) {
	for _, framing := range []modbus.Framing{modbus.TCP, modbus.RTUOverTCP, modbus.ASCIIOverTCP} {
		for name, hide := range map[string]func(lateConn) modbus.Conn{
			"it can tell what is there":    func(c lateConn) modbus.Conn { return lateRaw{c} },
			"it cannot tell what is there": func(c lateConn) modbus.Conn { return deaf{c} },
		} {
			t.Run(fmt.Sprint(framing, "/", name), func(t *testing.T) {
				near, far := tcpPair(t)
				serve(t, sim.NewPlant(meter(7)), far, framing)
				l := modbus.NewLink(hide(newLateConn(t, near)), framing, modbus.Options{})
				for range 3 {
					r := read(7, 10, 20)
					got, err := l.Do(context.Background(), r)
					if err != nil {
						t.Fatal(err)
					}
					checkMeter(t, r, got)
				}
			})
		}
	}
}

func TestAnAnswerThatIsThereIsNoTimeoutInAPipe(t *testing.T) {
	near, far := tcpPair(t)
	serve(t, sim.NewPlant(meter(7)), far, modbus.TCP)
	c := newLateConn(t, near)
	c.more = 50 * time.Millisecond
	p := modbus.NewPipe(lateRaw{c}, modbus.Options{})
	r := read(7, 10, 20)
	r.Timeout = c.more
	got, err := p.Do(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	checkMeter(t, r, got)
}

func TestNoAnswerIsATimeout(t *testing.T) {
	near, _ := tcpPair(t)
	for _, c := range []modbus.Conn{near, deaf{near}} {
		l := modbus.NewLink(c, modbus.TCP, modbus.Options{})
		r := read(7, 10, 20)
		r.Timeout = 20 * time.Millisecond
		if _, err := l.Do(context.Background(), r); !errors.Is(err, modbus.ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) || modbus.LinkLost(err) {
			t.Error(err)
		}
	}
}
