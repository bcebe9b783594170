package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams that the bus creates. Key-value buckets are streams named KV_<bucket>.
const (
	streamEvents = "EVENTS" // file, gw.*.event.>
	streamState  = "STATE"  // memory, gw.*.state.>, the last message per subject
	streamTracks = "TRACKS" // file, gw.*.track.>
	streamCanary = "CANARY" // file, proves that writing works
	bucketPrefix = "KV_"
)

const canarySubject = inboxGateway + ".canary"

// queueOf returns a subject that leads into the stream's queue and on which no message is ever
// stored (see Conn.Flush).
func queueOf(stream string) string { return inboxGateway + ".queue." + stream }

// minDedup is the shortest deduplication window the server accepts. Events carry no message ids,
// and the window is measured by the wall clock, which jumps on a gateway without a battery-backed
// clock.
const minDedup = 100 * time.Millisecond

// kept returns the configs of all streams, with every limit explicit. There is no MaxAge: one step
// of the clock would expire everything at once.
func (b *Bus) kept() []jetstream.StreamConfig {
	all := []jetstream.StreamConfig{
		{
			Name: streamState, Subjects: []string{"gw.*.state.>", queueOf(streamState)}, Storage: jetstream.MemoryStorage,
			MaxMsgs: -1, MaxBytes: b.cfg.MaxMemory * 3 / 4, MaxMsgsPerSubject: 1, AllowDirect: true,
		},
		{
			Name: streamCanary, Subjects: []string{canarySubject}, Storage: jetstream.FileStorage,
			MaxMsgs: 16, MaxBytes: 64 << 10, MaxMsgsPerSubject: -1, AllowDirect: true,
		},
		{
			Name: streamEvents, Subjects: []string{"gw.*.event.>", queueOf(streamEvents)}, Storage: jetstream.FileStorage,
			MaxMsgs: int64(b.cfg.Events), MaxBytes: b.cfg.MaxStore / 4, MaxMsgsPerSubject: -1, AllowDirect: true,
		},
	}
	all = append(all, jetstream.StreamConfig{
		Name: streamTracks, Subjects: []string{"gw.*.track.>", queueOf(streamTracks)}, Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxBytes: b.cfg.MaxTracks, MaxMsgsPerSubject: -1, AllowDirect: true, AllowAtomicPublish: true,
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range b.buckets {
		all = append(all, k)
	}
	for i := range all {
		all[i].Duplicates = minDedup
		all[i].MaxConsumers = -1
		all[i].FirstSeq = b.floor[all[i].Name]
	}
	return all
}

// prepare creates every missing stream and records in the report which could not be created.
func (b *Bus) prepare(ctx context.Context) {
	if b.Report().Store != "" {
		return
	}
	for _, cfg := range b.kept() {
		brief, cancel := context.WithTimeout(ctx, readyTimeout)
		err := b.ensure(brief, cfg)
		cancel()
		if err == nil && cfg.Name == streamTracks {
			if err = b.skipPastLossMark(ctx); err == nil {
				b.saveDescription()
				if err := b.openSource(ctx); err != nil {
					b.log.Error("the hub cannot source the tracks", "err", err)
				}
			}
		}
		if err != nil {
			b.log.Error("a stream cannot be made; the bus runs without it", "stream", cfg.Name, "err", err)
			b.mu.Lock()
			if b.report.Store == "" {
				b.report.Store = err.Error()
			}
			b.mu.Unlock()
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return // the others would time out too
		}
	}
}

// ensure creates a stream or updates an existing one to cfg. A stopping server waits for it,
// because the server would lose track of the store of a stream that is being created.
func (b *Bus) ensure(ctx context.Context, cfg jetstream.StreamConfig) error {
	b.making.RLock()
	defer b.making.RUnlock()
	// Creating an existing stream would reserve its space a second time.
	s, err := b.js.Stream(ctx, cfg.Name)
	switch {
	case err == nil:
		cfg.FirstSeq = s.CachedInfo().Config.FirstSeq
		_, err = b.js.UpdateStream(ctx, cfg)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = b.js.CreateStream(ctx, cfg)
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	return nil
}

// onFile reports whether the stream survives a power cut.
func onFile(name string) bool { return name != streamState }

// accounted reports whether every sequence number between the first and the last message must
// exist, because nothing is ever deleted from the middle.
func accounted(name string) bool {
	return onFile(name) && name != streamTracks && !strings.HasPrefix(name, bucketPrefix)
}
