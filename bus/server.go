package bus

import (
	"context"
	"fmt"
	"net"

	"github.com/nats-io/nats-server/v2/server"
)

// startServer starts a server and, when there is a directory that can be
// written, its JetStream; without one the server runs all the same and the report says why.
func (b *Bus) startServer(cfg Config) error {
	s, err := b.bare(cfg)
	if err != nil {
		return err
	}
	r := Report{Notes: b.notes}
	if cfg.Dir == "" {
		r.Store = "no directory is configured: nothing is kept"
	} else if err := enableStore(s, cfg); err != nil {
		// Half a JetStream would take requests and never answer them.
		s.Shutdown()
		s.WaitForShutdown()
		r.Store = err.Error()
		b.log.Error("the store cannot be used; the bus runs without it", "dir", cfg.Dir, "err", err)
		if s, err = b.bare(cfg); err != nil {
			return err
		}
	}
	b.server.set(s)
	b.mu.Lock()
	b.report = r
	b.mu.Unlock()
	return nil
}

// bare starts a server without JetStream and waits until it takes connections.
func (b *Bus) bare(cfg Config) (*server.Server, error) {
	o, err := cfg.serverOptions(b.ids)
	if err != nil {
		return nil, err
	}
	if cfg.Listen != "" && o.Port > 0 {
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen %s: %w (is another gatewayd or NATS server running?)", cfg.Listen, err)
		}
		_ = l.Close()
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	l := &serverLog{log: b.log}
	s.SetLoggerV2(l, false, false, false)
	s.Start()
	if err := l.failure(); err != nil {
		s.Shutdown()
		return nil, err
	}
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("server not ready within %s", readyTimeout)
	}
	return s, nil
}

func enableStore(s *server.Server, cfg Config) error {
	return s.EnableJetStream(&server.JetStreamConfig{
		StoreDir: cfg.Dir, MaxStore: cfg.MaxStore, MaxMemory: cfg.MaxMemory,
		SyncAlways: true, CompressOK: true, Strict: true,
	})
}

// prepare makes sure that what the bus promises to keep has a place to be kept.
func (b *Bus) prepare(ctx context.Context) {}

func (b *Bus) remember() {}

// Report is how the bus is.
type Report struct {
	Store string   // why nothing is kept; "" when the store works
	Notes []string // what else was repaired or is wrong
}

const (
	streamEvents = "EVENTS"
	streamState  = "STATE"
)
