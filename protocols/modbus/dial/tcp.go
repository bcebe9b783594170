// Package dial connects a Modbus client to a server on an IP network: over TCP with the socket
// options that detect a dead peer, over UDP, and over TLS as required by Modbus/TCP Security. It
// describes failures in an operator's terms. It does not implement Modbus and never retries.
package dial

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TCP connects to address (host:port). dead is how long sent data may remain unacknowledged by the
// far end before the connection counts as dead. An idle connection is probed after three times
// dead.
func TCP(ctx context.Context, address string, dead time.Duration) (*net.TCPConn, error) {
	d := net.Dialer{Control: deadline(dead), KeepAliveConfig: keepAlive(dead)}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// Watch makes a connection opened elsewhere detect a dead peer as those of TCP do.
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

// deadline sets TCP_USER_TIMEOUT, which package net does not do, so that a device that has lost
// power is detected. It also limits the probing of an idle connection.
func deadline(dead time.Duration) func(_, _ string, raw syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(dead.Milliseconds()))
		})
		return errors.Join(err, failed)
	}
}
