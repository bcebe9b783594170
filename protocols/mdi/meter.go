package mdi

import (
	"errors"
	"net"
	"sync/atomic"

	"gatewayd/protocols/uplink"
)

// Meter counts the octets of a connection.
type Meter struct {
	net.Conn
	sent, received atomic.Uint64
}

func (m *Meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	m.received.Add(uint64(n))
	return n, err
}

func (m *Meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.sent.Add(uint64(n))
	return n, err
}

// Close closes the connection like uplink.CloseDiscard.
func (m *Meter) Close() error { return uplink.CloseDiscard(m.Conn) }

// CloseWrite closes the sending direction, if the connection supports it.
func (m *Meter) CloseWrite() error {
	if c, ok := m.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.New("it counts one direction only")
}

// Traffic returns the octets counted so far.
func (m *Meter) Traffic() (sent, received uint64) { return m.sent.Load(), m.received.Load() }
