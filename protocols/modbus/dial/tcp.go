// Package dial connects a Modbus client to the far end of an IP network: over TCP with the options that find a dead peer, over UDP, and over
// TLS as Modbus/TCP Security wants it; and says in an operator's words why it could not. It knows no Modbus and never tries twice.
package dial

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TCP connects to address (host:port). dead is how long what was sent may stay without the far end's acknowledgement before the connection
// counts as dead; an idle one is probed after three times that.
func TCP(ctx context.Context, address string, dead time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Control: deadline(dead), KeepAliveConfig: keepAlive(dead)}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// Watch makes a connection that somebody else opened notice a dead peer as those of TCP do.
func Watch(c *net.TCPConn, dead time.Duration) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(c.SetKeepAliveConfig(keepAlive(dead)), deadline(dead)("", "", raw))
}

func keepAlive(dead time.Duration) net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 3 * dead, Interval: max(dead/3, time.Second), Count: 3}
}

// deadline sets TCP_USER_TIMEOUT, which package net does not: a device that lost its power is noticed. It also ends the probing of an idle
// connection.
func deadline(dead time.Duration) func(_, _ string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(dead.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}
