// Package bus runs the embedded NATS server and is the only package that speaks
// NATS. Everything above it deals in subjects and protobuf messages. It knows
// nothing of actors; its supervision (Canary, Restart, Report) is for one of them to use.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const readyTimeout = 5 * time.Second

// Bus is the running server and the gateway's own in-process connection to it.
type Bus struct {
	cfg    Config
	log    *slog.Logger
	ids    []identity
	notes  []string // what had to be repaired before the server could start
	conn   *Conn
	turn   chan struct{} // holds a token while nobody starts or stops the server
	server current

	mu        sync.Mutex
	report    Report
	onRestart []func()
	closed    bool
	catalogue func()
}

// Start brings the bus up. A store that is full, read-only or corrupt does not
// stop it: Report says what is wrong. Wrong settings and a busy port do.
func Start(cfg Config) (*Bus, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	b := &Bus{cfg: cfg, log: cfg.Log.With("component", "bus"), turn: make(chan struct{}, 1)}
	if err := b.identities(); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := b.startServer(cfg); err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if err := b.connect(); err != nil {
		b.server.stop()
		return nil, fmt.Errorf("bus: connect in process: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	b.prepare(ctx)
	b.turn <- struct{}{}
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

// Conn is the gateway's own connection, with all rights. It survives Restart.
func (b *Bus) Conn() *Conn { return b.conn }

// Gateway is the id this bus was started with.
func (b *Bus) Gateway() string { return b.cfg.Gateway }

// Addr is host:port of the listener, with the real port; "" without one.
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

// Close sends what is pending, notes how far the streams got and stops the server.
func (b *Bus) Close() {
	<-b.turn
	b.mu.Lock()
	b.closed = true
	stop := b.catalogue
	b.mu.Unlock()
	if stop != nil {
		stop()
	}
	b.remember()
	b.conn.Close()
	b.server.stop()
	b.turn <- struct{}{}
}

// connect makes the in-process connection, which from then on follows the current server.
func (b *Bus) connect() error {
	c, me := newConn(), b.ids[0]
	opts := []nats.Option{
		nats.InProcessServer(&b.server),
		nats.Name("gatewayd"),
		nats.Nkey(me.public, me.pair.Sign),
		nats.CustomInboxPrefix(inboxGateway),
		nats.IgnoreAuthErrorAbort(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(2 * time.Millisecond),
		nats.ReconnectJitter(5*time.Millisecond, 5*time.Millisecond),
		nats.ReconnectBufSize(4 << 20),
		nats.PingInterval(time.Minute),
		nats.ErrorHandler(c.trouble),
	}
	nc, err := nats.Connect("", opts...)
	if err != nil {
		return err
	}
	c.nc, b.conn = nc, c
	return nil
}

// current is the server of the moment; nats.go asks it for a pipe at every (re)connect.
type current struct {
	mu  sync.Mutex
	srv *server.Server
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
		return s.InProcessConn()
	}
	return nil, errors.New("the server is restarting")
}

func (c *current) stop() {
	s := c.get()
	c.set(nil)
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
}
