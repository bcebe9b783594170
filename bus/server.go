package bus

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startServer starts a server and, if the store directory is writable, its JetStream. Without a
// store the server runs all the same and the report says why.
func (b *Bus) startServer(cfg Config) error {
	s, err := b.bare(cfg)
	if err != nil {
		return err
	}
	r := Report{Notes: slices.Clone(b.notes)}
	if cfg.Dir == "" {
		r.Store = "no data directory is configured: nothing is stored"
	} else if s, err = b.withStore(s, cfg, &r); err != nil {
		return err
	}
	b.server.set(s)
	b.mu.Lock()
	b.report = r
	b.mu.Unlock()
	return nil
}

// withStore enables the store on s, or returns a replacement for s. A server whose store is damaged
// is replaced once the damage has been moved out of the way. A server whose store cannot be used is
// replaced by one without a store.
func (b *Bus) withStore(s *server.Server, cfg Config, r *Report) (*server.Server, error) {
	known, err := readLedger(cfg.Dir)
	if err != nil {
		r.Notes = append(r.Notes, "the ledger of the streams is unreadable: "+err.Error())
	}
	dropIndexes(cfg.Dir)
	err = enableStore(s, cfg)
	for range maxRepairs {
		var repair func()
		if err == nil {
			repair = b.repair(s, cfg, r)
		}
		if repair == nil {
			break
		}
		if s, err = b.again(s, cfg); err != nil {
			return nil, err
		}
		repair()
		err = enableStore(s, cfg)
	}
	var bad []Loss
	if err == nil {
		bad, err = b.examine(s, known, cfg, r)
	}
	if err == nil && len(bad) > 0 {
		if s, err = b.again(s, cfg); err != nil {
			return nil, err
		}
		r.Losses = append(r.Losses, quarantine(cfg.Dir, bad, time.Now())...)
		err = enableStore(s, cfg)
	}
	for _, l := range r.Losses {
		b.log.Error("messages were lost", "stream", l.Stream, "from", l.FromSeq, "to", l.ToSeq, "reason", l.Reason, "moved", l.Moved)
	}
	if err == nil {
		return s, nil
	}
	b.log.Error("the store cannot be used; the bus runs without it", "dir", cfg.Dir, "err", err)
	r.Store = err.Error()
	return b.again(s, cfg) // a half-initialized JetStream would accept requests and never answer them
}

// examine compares what the server found with the ledger. Losses inside a usable stream are added
// to the report at once; bad are the losses of streams that must be recreated.
func (b *Bus) examine(s *server.Server, known ledger, cfg Config, r *Report) (bad []Loss, err error) {
	b.noting.Lock()
	defer b.noting.Unlock()
	found, err := take(s)
	if err != nil {
		return nil, err
	}
	floor := map[string]uint64{}
	losses := compare(known, found, presentStreams(cfg.Dir))
	if recordLossMarks(known, losses, found) {
		if err := known.write(cfg.Dir); err != nil {
			r.Notes = append(r.Notes, "cannot write the ledger of the streams: "+err.Error())
		}
	}
	for _, l := range losses {
		st, ok := found[l.Stream]
		// What is left of the tracks is too valuable to discard.
		if ok && (st.LastSeq >= known[l.Stream].Last || l.Stream == streamTracks) {
			r.Losses = append(r.Losses, l)
			continue
		}
		floor[l.Stream] = max(known[l.Stream].Last, known[l.Stream].lossMark()) + 1
		bad = append(bad, l)
	}
	b.mu.Lock()
	b.ledger, b.written = known, time.Now()
	marks := known[streamTracks].LossMarks
	b.marks.Store(&marks)
	b.floor = floor
	b.mu.Unlock()
	return bad, nil
}

func (b *Bus) again(s *server.Server, cfg Config) (*server.Server, error) {
	s.Shutdown()
	s.WaitForShutdown()
	return b.bare(cfg)
}

// bare starts a server without JetStream and waits until it accepts connections.
func (b *Bus) bare(cfg Config) (*server.Server, error) {
	e := b.newAuthenticator(cfg)
	o, err := cfg.serverOptions(e)
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
	e.srv = s
	if cfg.Listen != "" {
		if err := exports(s.GlobalAccount()); err != nil {
			return nil, err
		}
	}
	if cfg.Leaf != nil {
		if err := cfg.Leaf.admit(s, cfg.Gateway); err != nil {
			return nil, err
		}
	}
	l := &serverLog{log: b.log, client: e.complaint}
	// Only at debug level does the server log clients that do not speak TLS.
	s.SetLoggerV2(l, cfg.TLS != nil, false, false)
	s.Start()
	if err := l.failure(); err != nil {
		s.Shutdown()
		return nil, err
	}
	if !s.ReadyForConnections(readyTimeout) {
		s.Shutdown()
		return nil, fmt.Errorf("server not ready within %s", readyTimeout)
	}
	b.mu.Lock()
	b.auth = e
	b.mu.Unlock()
	return s, nil
}

func enableStore(s *server.Server, cfg Config) error {
	err := s.EnableJetStream(&server.JetStreamConfig{
		StoreDir: cfg.Dir, MaxStore: cfg.MaxStore + cfg.MaxTracks, MaxMemory: cfg.MaxMemory,
		SyncAlways: true, CompressOK: true, Strict: true,
	})
	if err != nil || s.GlobalAccount().JetStreamEnabled() {
		return err
	}
	return s.GlobalAccount().EnableJetStream(nil, nil) // not enabled implicitly when there are other accounts
}
