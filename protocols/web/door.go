package web

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"gatewayd/protocols/access"
	"gatewayd/protocols/crowd"
)

// door limits the number of connections, in all and per address. Excess connections of one address
// are closed; excess connections in all wait in the kernel's queue.
type door struct {
	net.Listener
	server *Server
	places chan struct{}

	mu   sync.Mutex
	in   int
	from map[netip.Prefix]int
}

func newDoor(s *Server) *door {
	return &door{Listener: s.net, server: s, places: make(chan struct{}, s.cfg.MaxClients), from: map[netip.Prefix]int{}}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	d.places <- struct{}{}
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			<-d.places
			return nil, err
		}
		from := crowd.Of(c.RemoteAddr())
		if err := d.enter(from); err != nil {
			d.server.refused(access.RefusedCrowd, c.RemoteAddr().String(), nil, err)
			_ = c.Close()
			continue
		}
		return &guest{Conn: c, server: d.server, leave: sync.OnceFunc(func() { d.leave(from) })}, nil
	}
}

func (d *door) enter(from netip.Prefix) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := d.from[from]; n >= d.server.cfg.MaxClientsPerAddress {
		return fmt.Errorf("too many clients: %d are connected from %v", n, from)
	}
	d.in++
	d.from[from]++
	return nil
}

func (d *door) leave(from netip.Prefix) {
	d.mu.Lock()
	d.in--
	if d.from[from]--; d.from[from] == 0 {
		delete(d.from, from)
	}
	d.mu.Unlock()
	<-d.places
}

// Full reports whether the limit of connections is reached, so that new ones wait.
func (s *Server) Full() bool {
	s.door.mu.Lock()
	defer s.door.mu.Unlock()
	return s.door.in >= s.cfg.MaxClients
}

type guest struct {
	net.Conn
	server *Server
	leave  func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
