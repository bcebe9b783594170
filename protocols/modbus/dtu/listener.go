package dtu

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"gatewayd/protocols/crowd"
	"gatewayd/protocols/modbus/dial"
)

// deadAfter is how long data sent to a DTU may remain unacknowledged: mobile networks are slow.
const deadAfter = 30 * time.Second

// Config is the configuration of a Listener. All limits must be set.
type Config struct {
	Listen            string
	Prefix            []byte        // start of every registration packet
	Length            int           // bytes of the registration after the prefix; 0: all bytes until a pause
	Beats             [][]byte      // heartbeats
	Within            time.Duration // how long a registration may take
	Pending           int           // connections that have not registered
	PendingPerAddress int
	PerAddress        int // connections, registered or not
	// Refusals per address and minute (for IPv6 per /64, like the limits above), after which the
	// address is refused until the minute is over
	RefusalsPerMinute int
}

// Refusal is a connection that was refused.
type Refusal struct {
	From netip.AddrPort
	Sent []byte // the first bytes it has sent
	Why  string
}

// Call is a connection that was handed over and is still open.
type Call struct {
	Name  string
	From  netip.AddrPort
	Since time.Time
}

// Listener accepts connections, identifies the callers and hands the connections over.
type Listener struct {
	cfg      Config
	registry *Registry
	refused  func(Refusal)
	socket   *net.TCPListener
	running  sync.WaitGroup

	mu      sync.Mutex
	over    bool
	calls   map[*call]struct{}
	pending int
	from    map[netip.Prefix]*guest
	turned  uint64
}

// guest is what is known of an address, or of the network assigned to one host.
type guest struct {
	open, pending int
	refusals      int
	minute        time.Time // when the refusals are reset
}

// Listen opens the port. refused is called for every connection that is refused, by any goroutine;
// it must not block.
func Listen(cfg Config, registry *Registry, refused func(Refusal)) (*Listener, error) {
	socket, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	l := &Listener{
		cfg: cfg, registry: registry, refused: refused, socket: socket.(*net.TCPListener),
		calls: map[*call]struct{}{}, from: map[netip.Prefix]*guest{},
	}
	l.running.Add(1)
	go l.accept()
	return l, nil
}

// Addr returns the local address of the listener.
func (l *Listener) Addr() net.Addr { return l.socket.Addr() }

// Close closes the listener and all connections accepted by it.
func (l *Listener) Close() error {
	l.mu.Lock()
	l.over = true
	var all []*call
	for c := range l.calls {
		all = append(all, c)
	}
	l.mu.Unlock()
	err := l.socket.Close()
	for _, c := range all {
		_ = c.Close()
	}
	l.running.Wait()
	return err
}

// Calls returns the connections that were handed over. pending is the number of those not yet
// registered, refused the number refused since the start.
func (l *Listener) Calls() (calls []Call, pending int, refused uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.calls {
		if c.claim != nil {
			calls = append(calls, Call{c.claim.Name, c.at, c.since})
		}
	}
	return calls, l.pending, l.turned
}

// Drop closes the connections that were handed to an owner that no longer exists.
func (l *Listener) Drop(name string) {
	l.drop(func(c *Claim) bool { return c.Name == name })
}

// Retain closes the connections that were handed to the owner of a claim by an earlier claim: the
// owner has begun anew and knows nothing of them.
func (l *Listener) Retain(claim *Claim) {
	l.drop(func(c *Claim) bool { return c.Name == claim.Name && c != claim })
}

func (l *Listener) drop(which func(*Claim) bool) {
	l.mu.Lock()
	var all []*call
	for c := range l.calls {
		if c.claim != nil && which(c.claim) {
			all = append(all, c)
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// accept continues after errors (mostly a lack of descriptors): DTUs that disconnect free
// descriptors.
func (l *Listener) accept() {
	defer l.running.Done()
	pause := time.Duration(0)
	for {
		c, err := l.socket.AcceptTCP()
		if err == nil {
			pause = 0
			l.admit(c)
			continue
		}
		l.mu.Lock()
		over := l.over
		l.mu.Unlock()
		if over || errors.Is(err, net.ErrClosed) {
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		<-time.After(pause)
	}
}

func (l *Listener) admit(conn *net.TCPConn) {
	at := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	c := &call{TCPConn: conn, listener: l, at: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), since: time.Now()}
	if why := l.enter(c); why != "" {
		_ = conn.Close()
		l.refused(Refusal{From: c.at, Why: why})
		return
	}
	go func() {
		defer l.running.Done()
		if err := l.serve(c); err != nil {
			_ = c.Close()
			l.refused(*err)
		}
	}()
}

// enter counts a new connection, or returns why it is refused.
func (l *Listener) enter(c *call) (why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := crowd.Group(c.at.Addr())
	g := l.from[a]
	if g == nil {
		l.tidy(c.since)
		g = &guest{}
		l.from[a] = g
	}
	if c.since.After(g.minute) {
		g.refusals, g.minute = 0, c.since.Add(time.Minute)
	}
	switch {
	case l.over:
		why = "the listener is closing"
	case g.refusals >= l.cfg.RefusalsPerMinute:
		why = fmt.Sprintf("too many refused connections from this address: %d within a minute", g.refusals)
	case g.open >= l.cfg.PerAddress:
		why = fmt.Sprintf("too many connections from this address: %d are open", g.open)
	case g.pending >= l.cfg.PendingPerAddress:
		why = fmt.Sprintf("too many connections from this address: %d have not registered yet", g.pending)
	case l.pending >= l.cfg.Pending:
		why = fmt.Sprintf("too many connections: %d have not registered yet", l.pending)
	}
	if why != "" {
		l.turned++
		return why
	}
	g.open++
	g.pending++
	l.pending++
	l.calls[c] = struct{}{}
	l.running.Add(1)
	return ""
}

// tidy removes addresses with no open connections and no counted refusals.
func (l *Listener) tidy(now time.Time) {
	if len(l.from) < 1024 {
		return
	}
	for a, g := range l.from {
		if g.open == 0 && now.After(g.minute) {
			delete(l.from, a)
		}
	}
}

// serve identifies the caller and hands the connection over.
func (l *Listener) serve(c *call) *Refusal {
	claim, packet, why := l.ask(c)
	l.mu.Lock()
	g := l.from[crowd.Group(c.at.Addr())]
	g.pending--
	l.pending--
	if claim == nil {
		g.refusals++
		l.turned++
	} else {
		c.claim = claim
	}
	l.mu.Unlock()
	if claim == nil {
		return &Refusal{c.at, packet, why}
	}
	err := dial.Watch(c.TCPConn, deadAfter)
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err == nil {
		err = claim.Hand(&Caller{Conn: c, Beats: append([][]byte{packet, trim(packet)}, l.cfg.Beats...)})
	}
	if err != nil {
		l.mu.Lock()
		g.refusals++
		l.turned++
		l.mu.Unlock()
		return &Refusal{c.at, packet, fmt.Sprintf("%s cannot take the connection: %s", claim.Name, err)}
	}
	return nil
}

// call is an accepted connection.
type call struct {
	*net.TCPConn
	listener *Listener
	at       netip.AddrPort
	since    time.Time
	claim    *Claim // by which it was handed over; nil: it was not; guarded by the listener's lock
	once     sync.Once
}

// Close closes the connection and removes it from the counts.
func (c *call) Close() error {
	err := error(nil)
	c.once.Do(func() {
		err = c.TCPConn.Close()
		l := c.listener
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, c)
		l.from[crowd.Group(c.at.Addr())].open--
	})
	return err
}
