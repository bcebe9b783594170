// Package bus runs the embedded NATS server. It is the only package that speaks NATS: everything
// above it deals in subjects and protobuf messages. The package knows nothing of actors; an actor
// supervises it through Canary, Restart and Report.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/gsl"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readyTimeout bounds the start of the server, of the connections to it and of each of its streams.
// These take milliseconds unless the machine stalls.
const readyTimeout = 30 * time.Second

// startTimeout bounds the opening of all streams together, repairs included.
const startTimeout = 2 * time.Minute

// Bus is the running server and the gateway's own in-process connection to it.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	ids    []identity
	notes  []string // repairs made before the server could start
	conn   *Conn
	turn   chan struct{} // holds a token unless somebody is starting or stopping the server
	server current
	js     jetstream.JetStream
	making sync.RWMutex // held for reading while a stream is created, for writing while the server stops
	noting sync.Mutex   // held while the ledger is written, or read and compared

	mu        sync.Mutex
	report    Report
	auth      *authenticator // of the current server
	onRestart map[int]func() // keyed by registration number
	hooks     int
	closed    bool
	buckets   map[string]jetstream.StreamConfig
	ledger    ledger                   // as it is on disk
	written   time.Time                // time of the last write of the ledger
	marks     atomic.Pointer[[]uint64] // loss marks of the track stream in the ledger
	floor     map[string]uint64        // first sequence of each stream that must be recreated, by name
	staging   string                   // in-memory directory where batches are staged
	places    places
}

// Start starts the bus. A full, read-only or corrupt store does not prevent the start: Report
// describes the problem. Invalid settings and a busy port do.
func Start(cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{cfg: cfg, log: cfg.Log.With("component", "bus"), turn: make(chan struct{}, 1), onRestart: map[int]func(){}}
	b.turn <- struct{}{}
	if err := b.identities(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := b.startServer(cfg); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if cfg.Listen != "" {
		b.cfg.Listen = b.Addr() // port 0 has become a real port, which Restart must keep
	}
	if err := b.connect(); err != nil {
		b.Close()
		return nil, fmt.Errorf("bus: connect in process: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	b.prepare(ctx)
	return b, nil
}

func (b *Bus) identities() error {
	id, err := newIdentity(roleActors)
	if err != nil {
		return err
	}
	b.ids = []identity{id}
	if b.cfg.Listen == "" {
		return nil
	}
	if b.cfg.Insecure {
		b.log.Warn("insecure = true: the listener may be reached without TLS or credentials", "listen", b.cfg.Listen)
	}
	for _, role := range []string{Observer, Operator} {
		id, note, err := loadIdentity(b.cfg.KeyDir, role)
		if err != nil {
			return err
		}
		if note != "" {
			b.log.Warn(note)
			b.notes = append(b.notes, note)
		}
		b.ids = append(b.ids, id)
	}
	return nil
}

// Conn returns the gateway's own connection, which has all rights. It survives Restart.
func (b *Bus) Conn() *Conn { return b.conn }

// Gateway returns the gateway id this bus was started with.
func (b *Bus) Gateway() string { return b.cfg.Gateway }

// HasSubscribers reports whether anybody, inside or outside this process, subscribes to subject.
// Messages that exist only to be watched (traces) need not be produced otherwise. A call costs
// about a microsecond.
func (b *Bus) HasSubscribers(subject string) bool {
	s := b.server.get()
	return s != nil && s.GlobalAccount().SubscriptionInterest(subject)
}

// Addr returns host:port of the listener, with the real port, or "" without a listener.
func (b *Bus) Addr() string {
	s := b.server.get()
	if s == nil || b.cfg.Listen == "" {
		return ""
	}
	a, ok := s.Addr().(*net.TCPAddr)
	if !ok || a == nil {
		return ""
	}
	return a.String()
}

// closeTimeout is how long Close waits for a server that does not stop.
const closeTimeout = 10 * time.Second

// Close sends pending messages, records the position of every stream and stops the server. It
// abandons a server that takes longer than 10 s to stop.
func (b *Bus) Close() {
	<-b.turn
	defer func() { b.turn <- struct{}{} }()
	if b.isClosed() {
		return
	}
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	if b.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
		_ = b.conn.commit.settled(ctx, "") // pending writes of tracks
		cancel()
		b.conn.Close()
	}
	if err := b.remember(); err != nil {
		b.log.Warn("cannot write the ledger of the streams", "err", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	defer b.made(ctx)()
	if err := b.server.stop(ctx); err != nil {
		b.log.Error("the server was abandoned", "err", err)
		return
	}
	b.unstage()
}

// connect opens the in-process connections, which from then on follow the current server.
func (b *Bus) connect() error {
	c := newConn()
	var err error
	if c.nc, err = b.pipe("gatewayd", c); err != nil {
		return err
	}
	// Reading from a stream waits for a write to that stream, and so does everything behind the
	// read on the same connection. A sync takes a millisecond on a good disk and seconds on a dying
	// card.
	if c.keep, err = b.pipe("gatewayd-store", c); err != nil {
		c.nc.Close()
		return err
	}
	if b.js, err = jetstream.New(c.keep, jetstream.WithDefaultTimeout(readyTimeout)); err != nil {
		c.nc.Close()
		c.keep.Close()
		return err
	}
	c.queues, c.heard = []string{queueOf(streamState), queueOf(streamEvents)}, b.HasSubscribers
	c.current = b.server.get
	c.nc.SetReconnectHandler(c.assure)
	c.assure(c.nc)
	c.guest = b.guestOf
	c.own, c.listeners = "gw."+b.cfg.Gateway+".", gsl.NewSublist[*listener]()
	c.commit = newCommitter(b)
	b.conn = c
	if err := b.resets(); err != nil {
		c.nc.Close()
		c.keep.Close()
		return err
	}
	return nil
}

func (b *Bus) pipe(name string, c *Conn) (*nats.Conn, error) {
	var nc *nats.Conn
	var err error
	for until := time.Now().Add(readyTimeout); time.Now().Before(until); {
		// A server that has been waiting for a while sends a PING first, which the library rejects
		// as an unexpected reply.
		if nc, err = b.dial(name, c); err == nil || !strings.Contains(err.Error(), "expected 'PONG'") {
			break
		}
	}
	return nc, err
}

func (b *Bus) dial(name string, c *Conn) (*nats.Conn, error) {
	me := b.ids[0]
	return nats.Connect("",
		nats.InProcessServer(&b.server),
		nats.Name(name),
		nats.Timeout(readyTimeout),
		nats.Nkey(me.public, me.pair.Sign),
		nats.CustomInboxPrefix(inboxGateway),
		nats.IgnoreAuthErrorAbort(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(2*time.Millisecond),
		nats.ReconnectJitter(5*time.Millisecond, 5*time.Millisecond),
		nats.ReconnectBufSize(4<<20),
		nats.PingInterval(time.Minute),
		// Per subscription that is read message by message; the library's default takes half a
		// megabyte.
		nats.SyncQueueLen(2*page),
		nats.ErrorHandler(c.trouble),
	)
}

// current holds the running server; nats.go asks it for a pipe at every connect and reconnect.
type current struct {
	mu  sync.Mutex
	srv *server.Server
	old chan struct{} // closed when the server that was told to stop has stopped
}

func (c *current) get() *server.Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.srv
}

func (c *current) set(s *server.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.srv = s
}

// InProcessConn implements nats.InProcessConnProvider.
func (c *current) InProcessConn() (net.Conn, error) {
	if s := c.get(); s != nil {
		conn, err := s.InProcessConn()
		if err != nil {
			return nil, err
		}
		return newAsyncConn(conn), nil
	}
	return nil, errors.New("the server is restarting")
}

// stop shuts the server down and waits until it has stopped, or until an earlier server that did
// not stop in time has.
func (c *current) stop(ctx context.Context) error {
	c.mu.Lock()
	if s := c.srv; s != nil {
		old := make(chan struct{})
		c.srv, c.old = nil, old
		go func() {
			defer close(old)
			s.Shutdown()
			s.WaitForShutdown()
		}()
	}
	old := c.old
	c.mu.Unlock()
	if old == nil {
		return nil
	}
	select {
	case <-old:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the server does not stop: %w", ctx.Err())
	}
}
