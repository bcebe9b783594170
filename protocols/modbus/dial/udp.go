package dial

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Datagrams is a connected UDP socket: it reads only datagrams of its far end, and reports in Read
// or Write that a host has refused ours. Close may be called by any goroutine; the other methods
// must not be called concurrently.
type Datagrams struct {
	far netip.AddrPort

	mu     sync.Mutex
	socket *net.UDPConn
	over   bool
}

// UDP resolves address (host:port) and opens a socket to it. Nothing is sent, so it is unknown
// whether the far end exists.
func UDP(ctx context.Context, address string) (*Datagrams, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	socket := c.(*net.UDPConn)
	return &Datagrams{far: socket.RemoteAddr().(*net.UDPAddr).AddrPort(), socket: socket}, nil
}

// Discard changes to another local port. Datagrams still in transit to the old one, late or
// duplicated, are never read.
func (d *Datagrams) Discard() error {
	// The new port is opened before the old one is closed, so the two differ.
	next, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(d.far))
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		_ = next.Close()
		return net.ErrClosed
	}
	_ = d.socket.Close()
	d.socket = next
	return nil
}

func (d *Datagrams) now() *net.UDPConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.socket
}

// LocalAddr returns the local address to which the next answer is sent.
func (d *Datagrams) LocalAddr() net.Addr { return d.now().LocalAddr() }

// Read reads one datagram. What does not fit into b is dropped.
func (d *Datagrams) Read(b []byte) (int, error) { return d.now().Read(b) }

// Write sends b in one datagram.
func (d *Datagrams) Write(b []byte) (int, error) { return d.now().Write(b) }

// SetReadDeadline works as with net.Conn.
func (d *Datagrams) SetReadDeadline(t time.Time) error { return d.now().SetReadDeadline(t) }

// SetWriteDeadline works as with net.Conn.
func (d *Datagrams) SetWriteDeadline(t time.Time) error { return d.now().SetWriteDeadline(t) }

// Close closes the socket and ends a running Read.
func (d *Datagrams) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	return d.socket.Close()
}
