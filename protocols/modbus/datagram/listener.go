// Package datagram is the server side of Modbus over UDP: it shows the datagrams of each client as a connection, so that whatever serves
// TCP serves UDP as well. It knows frames only as far as one datagram must be one.
package datagram

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
)

// Limits keep clients, whose addresses may be invented, from taking memory.
type Limits struct {
	Clients    int           // at once; default 256
	PerAddress int           // of one IP address; default 32
	Idle       time.Duration // after which a client is forgotten; default 1 min
}

const (
	queue   = 16  // datagrams of one client that wait to be read; more are dropped, as on the way
	backlog = 64  // clients that wait for Accept
	longest = 512 // more than any frame
)

// Listener is a net.Listener of clients. On a host with several addresses it should listen on one of them: the answers to what came to
// another address may leave from the wrong one.
type Listener struct {
	socket  *net.UDPConn
	framing modbus.Framing
	limits  Limits
	fresh   chan *conn
	done    chan struct{} // closed when the socket is no longer read
	dropped atomic.Uint64

	mu      sync.Mutex
	clients map[netip.AddrPort]*conn
	from    map[netip.Addr]int
	over    bool
}

// Listen opens a UDP port for frames as in modbus.TCP or modbus.RTUOverTCP.
func Listen(address string, f modbus.Framing, limits Limits) (*Listener, error) {
	if f != modbus.TCP && f != modbus.RTUOverTCP {
		return nil, errors.New("datagrams carry framing tcp or rtu-over-tcp, not " + f.String())
	}
	at, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		socket: socket, framing: f, limits: limits.complete(), fresh: make(chan *conn, backlog), done: make(chan struct{}),
		clients: map[netip.AddrPort]*conn{}, from: map[netip.Addr]int{},
	}
	go l.receive()
	return l, nil
}

func (n Limits) complete() Limits {
	if n.Clients <= 0 {
		n.Clients = 256
	}
	if n.PerAddress <= 0 {
		n.PerAddress = 32
	}
	if n.Idle <= 0 {
		n.Idle = time.Minute
	}
	return n
}

// Accept waits for a client that is not known yet. The connection gives one frame with each Read and takes one with each Write; it ends with
// io.EOF when the client has been silent for too long.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.fresh:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Dropped counts the datagrams that were no frame, or too many.
func (l *Listener) Dropped() uint64 { return l.dropped.Load() }

// Close ends the listener and all its connections.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
	err := l.socket.Close()
	<-l.done
	return err
}

func (l *Listener) receive() {
	defer close(l.done)
	var b [longest]byte
	swept := time.Now()
	for {
		_ = l.socket.SetReadDeadline(time.Now().Add(l.limits.Idle))
		n, from, err := l.socket.ReadFromUDPAddrPort(b[:])
		if l.closed() {
			l.sweep(time.Time{})
			return
		}
		now := time.Now()
		if err == nil && !l.deliver(b[:n], from, now) {
			l.dropped.Add(1)
		}
		if now.Sub(swept) >= l.limits.Idle/2 {
			l.sweep(now)
			swept = now
		}
	}
}

func (l *Listener) closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

// deliver gives a datagram to its client's connection.
func (l *Listener) deliver(b []byte, from netip.AddrPort, now time.Time) bool {
	if !modbus.Whole(l.framing, b) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[from]
	if c == nil {
		if len(l.clients) >= l.limits.Clients || l.from[from.Addr()] >= l.limits.PerAddress {
			return false
		}
		c = newConn(l, from)
		select {
		case l.fresh <- c:
		default:
			return false
		}
		l.clients[from] = c
		l.from[from.Addr()]++
	}
	c.heard = now
	select {
	case c.in <- append([]byte(nil), b...):
		return true
	default:
		return false
	}
}

// sweep forgets clients that were silent; all when now is zero.
func (l *Listener) sweep(now time.Time) {
	l.mu.Lock()
	var gone []*conn
	for _, c := range l.clients {
		if now.IsZero() || now.Sub(c.heard) >= l.limits.Idle {
			gone = append(gone, c)
		}
	}
	l.mu.Unlock()
	for _, c := range gone {
		_ = c.Close()
	}
}

func (l *Listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[c.far] != c {
		return
	}
	delete(l.clients, c.far)
	if l.from[c.far.Addr()]--; l.from[c.far.Addr()] <= 0 {
		delete(l.from, c.far.Addr())
	}
}
