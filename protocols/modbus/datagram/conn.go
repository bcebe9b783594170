package datagram

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// conn is the connection of one client.
type conn struct {
	listener *Listener
	far      netip.AddrPort
	in       chan []byte
	heard    time.Time // guarded by the listener's lock
	end      chan struct{}
	once     sync.Once

	mu    sync.Mutex
	timer *time.Timer
	late  chan struct{} // closed when the read deadline has passed
}

func newConn(l *Listener, far netip.AddrPort) *conn {
	return &conn{listener: l, far: far, in: make(chan []byte, queue), end: make(chan struct{}), late: make(chan struct{})}
}

// Read returns one frame. What does not fit into b is dropped.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	late := c.late
	c.mu.Unlock()
	select {
	case <-late:
		return 0, os.ErrDeadlineExceeded
	default:
	}
	select {
	case frame := <-c.in:
		return copy(b, frame), nil
	case <-c.end:
		return 0, io.EOF
	case <-late:
		return 0, os.ErrDeadlineExceeded
	}
}

// Write sends b in one datagram. It does not block: what the socket cannot accept is lost, as it
// may be on the network.
func (c *conn) Write(b []byte) (int, error) {
	select {
	case <-c.end:
		return 0, net.ErrClosed
	default:
		return c.listener.socket.WriteToUDPAddrPort(b, c.far)
	}
}

// Close forgets the client. Its next datagram makes it a new one.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.end)
		c.listener.forget(c)
		_ = c.SetReadDeadline(time.Time{}) // stops its timer
	})
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.listener.Addr() }
func (c *conn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.far) }

func (c *conn) SetDeadline(t time.Time) error {
	return c.SetReadDeadline(t)
}

// SetReadDeadline also applies to a running Read, as with net.Conn, unless the deadline of that
// Read has just passed.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil && !c.timer.Stop() {
		c.late = make(chan struct{}) // it has passed
	}
	c.timer = nil
	select {
	case <-c.late:
		c.late = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	late := c.late
	if d := time.Until(t); d > 0 {
		c.timer = time.AfterFunc(d, func() { close(late) })
	} else {
		close(late)
	}
	return nil
}

// SetWriteDeadline does nothing: Write does not wait.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
