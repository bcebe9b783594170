// Package server accepts Modbus masters: it listens, limits each master, extracts requests from the
// received bytes and sends back the answers. The meaning of requests is up to its Handler. It
// serves TCP connections of any framing, with or without TLS, and serial ports alike; anything else
// that implements net.Listener can be used too.
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

// Handler carries out requests.
type Handler interface {
	// Handle appends to dst the PDU that answers q. A request for which it appends nothing is not
	// answered, unless it was taken over by q.Defer. It is called by one goroutine per master and
	// must not block; q is valid until it returns.
	Handle(dst []byte, q *Query) []byte
}

// RefusalHandler is a Handler that is notified of requests for which a master lacks the role.
type RefusalHandler interface {
	// Forbidden is called, like Handle, for requests that Door.Allow has refused.
	Forbidden(q *Query)
}

// Config limits what masters may do. Zero values mean the defaults.
type Config struct {
	Masters    int           // concurrent connections, over all doors; default 64
	PerAddress int           // concurrent connections from one IPv4 address or one IPv6 /64; default 16
	Idle       time.Duration // time without a request after which a connection is closed; default 5 min
	// Time for which a master may leave answers unread before it is disconnected; default 5 s.
	Slow     time.Duration
	InFlight int // requests of one Modbus TCP connection under way; further ones are not read yet; default 16
	Log      *slog.Logger

	// Admit identifies a master whose certificate is signed by a door's authority, or returns why
	// it is rejected; nil: all are accepted. It is called by any goroutine and may take some time.
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

// Server serves the masters of any number of doors. It is safe for concurrent use.
type Server struct {
	settings atomic.Pointer[settings]
	counts   counters
	taps     atomic.Pointer[[]*FrameTap] // nil: there are no listeners
	running  sync.WaitGroup
	stop     chan struct{}

	changing sync.Mutex             // held during Change
	ways     map[string]*entry      // by listening address; guarded by changing
	ports    map[string]*attendance // by device; guarded by changing

	mu      sync.Mutex
	closed  bool
	doors   map[*entry]struct{}
	masters map[*Master]struct{}
	conns   int // number of masters, not counting lines
	perAddr map[netip.Prefix]int

	made       time.Time
	complaints dispatch.EventLimiter // about handshakes
}

// settings are what Change may change while the server runs.
type settings struct {
	Config
	handler Handler
}

// New returns a server without doors. It does no I/O.
func New(cfg Config, h Handler) *Server {
	s := &Server{
		made: time.Now(), stop: make(chan struct{}), ways: map[string]*entry{}, ports: map[string]*attendance{},
		doors: map[*entry]struct{}{}, masters: map[*Master]struct{}{}, perAddr: map[netip.Prefix]int{},
	}
	s.settings.Store(&settings{cfg.complete(), h})
	return s
}

func (s *Server) log() *slog.Logger { return s.settings.Load().Log }

// Door is an entry point for masters.
type Door struct {
	Name    string         // as displayed for masters, for instance "tcp 0.0.0.0:502"
	Framing modbus.Framing // TCP, RTUOverTCP or ASCIIOverTCP
	// Allow reports what a master with a proven role (TLS) may do; nil: everything. What is not
	// allowed is refused with exception 1.
	Allow func(role string, write bool) bool

	keys *keys // nil: no TLS, or TLS is done by the listener
}

// entry is a listener and the door behind it, which may be replaced.
type entry struct {
	listener net.Listener
	door     atomic.Pointer[Door]
}

// Listen serves the masters that l accepts, in the background, until Close. It takes ownership of
// l.
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

// Review disconnects masters with a certificate that are no longer admitted. still returns nil for
// those that are; who is the result of Admit, or nil if it was not called.
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
