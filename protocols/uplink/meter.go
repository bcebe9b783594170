package uplink

import (
	"context"
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Meter counts the bytes on the connections that it dials, below TLS.
type Meter struct{ sent, received atomic.Uint64 }

// Traffic implements Metered.
func (m *Meter) Traffic() (sent, received uint64) { return m.sent.Load(), m.received.Load() }

// DialContext is like that of net.Dialer.
func (m *Meter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &counted{conn, m}, nil
}

type counted struct {
	net.Conn
	m *Meter
}

func (c *counted) Close() error { return CloseDiscard(c.Conn) }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.m.received.Add(uint64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.m.sent.Add(uint64(n))
	return n, err
}

// farewell is the largest size of closing messages, in bytes.
const farewell = 4 << 10

// CloseDiscard closes a connection. If more data than closing messages is unacknowledged, it is
// discarded: a slow link would carry it for minutes beside the next connection, on which it is sent
// again, and it would be paid for twice.
func CloseDiscard(conn net.Conn) error {
	if t, ok := conn.(*net.TCPConn); ok && unsent(t) > farewell {
		_ = t.SetLinger(0)
	}
	return conn.Close()
}

// unsent returns how many bytes the peer has not acknowledged.
func unsent(conn *net.TCPConn) (n int) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	}
	return n
}
