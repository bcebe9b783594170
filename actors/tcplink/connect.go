package tcplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// conn is what dialling gives; the life owns it.
type conn struct {
	*net.TCPConn
	address string
}

// refused is what dialling gives otherwise.
type refused struct{ cause string }

var framings = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP}

func (l *link) dial(c *actors.Context) {
	l.retry.Stop()
	if l.dialing || l.conn != nil {
		return
	}
	l.dialing, l.stale = true, false
	address, limit, dead := l.cfg.Address, l.cfg.ConnectTimeout.AsDuration(), l.cfg.DeadAfter.AsDuration()
	c.Do(limit+time.Second, func(ctx context.Context) (any, error) {
		d := net.Dialer{Timeout: limit, Control: deadline(dead), KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 3 * dead, Interval: max(dead/3, time.Second), Count: 3,
		}}
		far, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return refused{reason(address, limit, err)}, nil
		}
		return &conn{far.(*net.TCPConn), address}, nil
	})
}

// deadline sets how long what was sent may stay without the far end's
// acknowledgement (TCP_USER_TIMEOUT), which package net does not: a device that
// lost its power is noticed. It also ends the probing of an idle connection.
func deadline(dead time.Duration) func(_, _ string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(dead.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}

// check says what a config cannot be that has each value within its range.
func check(cfg *modbusv1.TcpLink) error {
	if cfg.InFlight > 1 && cfg.Framing != "tcp" {
		return fmt.Errorf("in-flight: %d transactions at a time need framing tcp: nothing else tells the answers apart", cfg.InFlight)
	}
	return nil
}

// reason says in an operator's words why there is no connection.
func reason(address string, limit time.Duration, err error) string {
	var number syscall.Errno
	var name *net.DNSError
	switch {
	case errors.As(err, &number):
		return fmt.Sprintf("not connected: %s: %s", address, number)
	case errors.As(err, &name):
		return fmt.Sprintf("not connected: %s: %s", address, name.Err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("not connected: %s: no answer within %s", address, limit)
	}
	return fmt.Sprintf("not connected: %s", err)
}

func (l *link) connected(c *actors.Context, far *conn) {
	l.dialing = false
	if l.stale {
		c.Close(far)
		l.dial(c)
		return
	}
	l.conn, l.proved = far, false
	l.opened++
	if l.cfg.InFlight > 1 {
		l.modbus = modbus.NewPipe(far, modbus.Options{})
	} else {
		l.modbus = modbus.NewLink(far, framings[l.cfg.Framing], modbus.Options{})
	}
	l.carrier.Widen(int(l.cfg.InFlight))
	l.carrier.Up()
	if !l.shaky {
		l.say(c, "")
	}
	l.next(c)
}

// lose gives the connection up. Whoever waits goes on waiting if a new one is
// worth trying at once.
func (l *link) lose(c *actors.Context, atOnce bool) {
	c.Close(l.conn)
	l.conn, l.modbus = nil, nil
	if atOnce {
		l.failed = 0
		l.dial(c)
		return
	}
	l.shaky = true
	l.backOff(c, fmt.Sprintf("connected, but closed without an answer: %s", l.cfg.Address))
}

// backOff tells who waits that there is no connection, and when to try again.
func (l *link) backOff(c *actors.Context, cause string) {
	if l.stale {
		l.dial(c)
		return
	}
	l.failed++
	l.carrier.Down(cause)
	l.say(c, cause)
	l.retry = c.After(wire.Backoff(l.failed, l.cfg.MaxBackoff.AsDuration()), redial{})
}

// say tells the world about the connection; no cause: it is up.
func (l *link) say(c *actors.Context, cause string) {
	c.State("link", &modbusv1.LinkState{Up: cause == "", Cause: cause, Target: l.cfg.Address})
	if cause == "" {
		c.OK()
	} else {
		c.Unreachable(cause)
	}
}

func (l *link) reconfigure(c *actors.Context, cfg *modbusv1.TcpLink) error {
	if err := check(cfg); err != nil {
		return actors.Broken(err)
	}
	same := cfg.Address == l.cfg.Address && cfg.Framing == l.cfg.Framing && cfg.InFlight == l.cfg.InFlight &&
		cfg.DeadAfter.AsDuration() == l.cfg.DeadAfter.AsDuration()
	l.cfg = cfg
	if same {
		return nil
	}
	l.stale, l.failed = true, 0
	switch {
	case l.conn != nil && !l.carrier.Busy():
		l.lose(c, true)
	case l.conn == nil && !l.dialing:
		l.dial(c)
	}
	return nil
}
