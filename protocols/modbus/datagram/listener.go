// Package datagram is the server side of Modbus over UDP. It presents the datagrams of each client
// as a connection, so that a server for TCP can serve UDP as well. It examines frames only to check
// that each datagram is exactly one.
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

// Limits bound the memory used by clients, whose addresses may be forged.
type Limits struct {
	Clients    int           // concurrent clients; default 256
	PerAddress int           // concurrent clients per IP address; default 32
	Idle       time.Duration // after which a client is forgotten; default 1 min
}

const (
	queue   = 16  // datagrams of one client waiting to be read; more are dropped, as they may be on the network
	backlog = 64  // clients waiting for Accept
	longest = 512 // larger than any frame
)

// Listener is a net.Listener whose connections are clients. On a host with several addresses it
// should listen on a specific one: answers to datagrams sent to another address may otherwise be
// sent from the wrong one.
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

// Accept waits for a new client. The connection returns one frame with each Read and takes one with
// each Write. It ends with io.EOF when the client has been silent for longer than Limits.Idle.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.fresh:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Addr returns the local address of the listener.
func (l *Listener) Addr() net.Addr { return l.socket.LocalAddr() }

// Dropped returns the number of datagrams that were dropped because they were not a frame or
// exceeded a limit.
func (l *Listener) Dropped() uint64 { return l.dropped.Load() }

// Close closes the listener and all its connections.
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

// deliver passes a datagram to its client's connection. It returns false if the datagram is
// dropped.
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

// sweep closes the connections of clients that have been silent; all of them if now is zero.
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
