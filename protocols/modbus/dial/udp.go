package dial

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Datagrams is a connected UDP socket: only its far end's datagrams are read, and a host that refuses ours says so in Read or Write. Close
// may be called by any goroutine, the rest is for one at a time.
type Datagrams struct {
	far netip.AddrPort

	mu     sync.Mutex
	socket *net.UDPConn
	over   bool
}

// UDP resolves address (host:port) and opens a socket to it. Nothing is sent, so it is not known whether anybody is there.
func UDP(ctx context.Context, address string) (*Datagrams, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	socket := c.(*net.UDPConn)
	return &Datagrams{far: socket.RemoteAddr().(*net.UDPAddr).AddrPort(), socket: socket}, nil
}

// Discard takes another local port. What is still under way to the old one, late or doubled, is never read.
func (d *Datagrams) Discard() error {
	// The new port is taken before the old one is free, and so is another one.
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

// LocalAddr is the port that the next answer comes to.
func (d *Datagrams) LocalAddr() net.Addr { return d.now().LocalAddr() }

// Read reads one datagram; what does not fit into b is cut off.
func (d *Datagrams) Read(b []byte) (int, error) { return d.now().Read(b) }

// Write sends b in one datagram.
func (d *Datagrams) Write(b []byte) (int, error) { return d.now().Write(b) }

// SetReadDeadline is as with net.Conn.
func (d *Datagrams) SetReadDeadline(t time.Time) error { return d.now().SetReadDeadline(t) }

// SetWriteDeadline is as with net.Conn.
func (d *Datagrams) SetWriteDeadline(t time.Time) error { return d.now().SetWriteDeadline(t) }

// Close ends a running Read.
func (d *Datagrams) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	return d.socket.Close()
}
