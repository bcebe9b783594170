package uplink

import (
	"context"
	"net"
	"sync/atomic"
)

// Meter counts what passes the connections that it dials, below TLS.
type Meter struct{ sent, received atomic.Uint64 }

// Traffic implements Metered.
func (m *Meter) Traffic() (sent, received uint64) { return m.sent.Load(), m.received.Load() }

// DialContext is that of net.Dialer.
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
