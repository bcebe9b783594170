// Package server lets Modbus masters in: it listens, keeps each of them within limits, takes their requests out of what they send and
// gives the answers back. What a request means is its Handler's business. TCP connections of any framing, plain or TLS, and serial
// ports are served alike; whatever else looks like a net.Listener can be.
package server

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
)

// Handler knows what requests mean.
type Handler interface {
	// Handle appends to dst the PDU that answers q. A request to which it appends nothing is not answered, unless it was taken over by
	// q.Later. It is called by one goroutine per master and must not block; q is valid until it returns.
	Handle(dst []byte, q *Query) []byte
}

// Porter is a Handler that wants to know of requests for which a master has no role.
type Porter interface {
	// Forbidden is called, as Handle is, for what Door.Allow has refused.
	Forbidden(q *Query)
}

// Config limits what masters may do. Zero values mean the defaults.
type Config struct {
	Masters    int           // connections at once, of all doors; default 64
	PerAddress int           // connections at once from one IPv4 address or one IPv6 /64; default 16
	Idle       time.Duration // a connection that brings no request for so long is cut; default 5 min
	Slow       time.Duration // a master that does not take an answer for so long is cut; default 5 s
	InFlight   int           // requests of one Modbus TCP connection under way; what exceeds it is not read yet; default 16
	Log        *slog.Logger

	// Admit says who a master is whose certificate a door's authority has signed, or why he may not come in; nil: all may. It is called by any
	// goroutine, and may take a moment.
	Admit func(shown *x509.Certificate, remote string) (who any, err error)
}

func (c Config) complete() Config {
	if c.Masters <= 0 {
		c.Masters = 64
	}
	if c.PerAddress <= 0 {
		c.PerAddress = 16
	}
	if c.Idle <= 0 {
		c.Idle = 5 * time.Minute
	}
	if c.Slow <= 0 {
		c.Slow = 5 * time.Second
	}
	if c.InFlight <= 0 {
		c.InFlight = 16
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server serves the masters of any number of doors. All methods may be called by any goroutine.
type Server struct {
	settings atomic.Pointer[settings]
	counts   counters
	ears     atomic.Pointer[[]*Ear] // of who listens; nil: nobody
	running  sync.WaitGroup
	stop     chan struct{}

	changing sync.Mutex             // one Change at a time
	ways     map[string]*entry      // by the address they listen on; of who changes
	ports    map[string]*attendance // by device; of who changes

	mu      sync.Mutex
	closed  bool
	doors   map[*entry]struct{}
	masters map[*Master]struct{}
	conns   int // of masters, without lines
	perAddr map[netip.Prefix]int

	made       time.Time
	complaints dispatch.Complaints // of handshakes
}

// settings are what Change may change under way.
type settings struct {
	Config
	handler Handler
}

// New makes a server without doors. It does no I/O.
func New(cfg Config, h Handler) *Server {
	s := &Server{
		made: time.Now(), stop: make(chan struct{}), ways: map[string]*entry{}, ports: map[string]*attendance{},
		doors: map[*entry]struct{}{}, masters: map[*Master]struct{}{}, perAddr: map[netip.Prefix]int{},
	}
	s.settings.Store(&settings{cfg.complete(), h})
	return s
}

func (s *Server) log() *slog.Logger { return s.settings.Load().Log }

// Door is a way in for masters.
type Door struct {
	Name    string         // as masters are listed, "tcp 0.0.0.0:502" for instance
	Framing modbus.Framing // TCP, RTUOverTCP or ASCIIOverTCP
	// Allow says what a master may do that has proven a role (TLS); nil: everything. What it may not is refused with exception 1.
	Allow func(role string, write bool) bool

	keys *keys // nil: no TLS, or the listener does it
}

// entry is a listener and the door behind it, which may become another one.
type entry struct {
	listener net.Listener
	door     atomic.Pointer[Door]
}

// Listen serves the masters that l accepts, in the background, until Close. It takes l over.
func (s *Server) Listen(l net.Listener, d Door) error {
	_, err := s.listen(l, d)
	return err
}

func (s *Server) listen(l net.Listener, d Door) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(net.ErrClosed, l.Close())
	}
	e := &entry{listener: l}
	e.door.Store(&d)
	s.doors[e] = struct{}{}
	s.running.Go(func() { s.accept(e) })
	return e, nil
}

// Review ends the connections of masters with a certificate that may no longer be in. still is nil for who may; who is what Admit has said, nil if nobody asked.
func (s *Server) Review(still func(who any) error) {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.masters))
	s.mu.Unlock()
	for _, m := range all {
		m.mu.Lock()
		proven, who := m.proven, m.who
		m.mu.Unlock()
		if !proven {
			continue
		}
		if err := still(who); err != nil {
			m.end(err)
		}
	}
}

// Close ends all connections and lines and waits for their goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	for e := range s.doors {
		_ = e.listener.Close()
	}
	for m := range s.masters {
		m.close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}
