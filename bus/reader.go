package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reading tracks. A Reader is a named position in the stream of all tracks. The position survives
// restarts and power cuts: acknowledged messages are not delivered again, all others are, in the
// order in which they were written. Next waits for messages. Ack acknowledges a message and all
// before it. Rewind has all unacknowledged messages delivered again; after an error of Next the
// next call does so by itself. After a power cut the last acknowledgements may be lost, so readers
// must recognize duplicates by the contents of the messages (record.Follow does).

// Stored is one message of a track.
type Stored struct {
	Path        string // of the actor that wrote the message
	Seq         uint64 // in the stream of all tracks
	Time        time.Time
	ContentType string
	Data        []byte
}

func stored(r Record) Stored {
	s := Stored{Seq: r.Seq, Time: r.Time, ContentType: r.ContentType, Data: r.Data}
	if a, err := ParseSubject(r.Subject); err == nil {
		s.Path = a.Path
	}
	return s
}

// ReaderConfig says what a Reader reads.
type ReaderConfig struct {
	Name   string   // path of the reading actor
	Tracks []string // paths of actors, or MQTT-style filters of paths like "tracks/+" or "#"; none: all
	New    bool     // a newly created reader starts with messages written from now on, not with the oldest
}

// Reader is one reader's position in the track stream. Only one goroutine may call Next; Ack and
// Backlog may be called from any.
type Reader struct {
	conn      *Conn
	name      string
	patterns  []string
	conf      jetstream.ConsumerConfig // of the consumer
	anew      bool                     // the consumer was created, and no earlier position is known
	rewind    bool
	delivered uint64   // consumer sequence of the last delivery since the last rewind
	ahead     []Stored // fetched, but not yet returned by Next
	more      bool     // more messages were pending than the last fetch returned

	mu      sync.Mutex
	acked   uint64 // sequence of the last acknowledged message; 0: none yet
	unacked []unacked
}

type unacked struct {
	Stored
	subject, reply string
}

// readAheadBytes limits the bytes of messages fetched ahead when many are pending. For any request
// the server loads a block of 8 MB and keeps it until the next garbage collection. With small
// requests it loads the same block repeatedly and holds two copies of it.
const readAheadBytes = 1 << 20

// readAheadMsgs limits the number of messages fetched ahead.
const readAheadMsgs = 2048

// readAheadTime limits how long Next fetches ahead: a slow disk must not delay messages that have
// arrived.
const readAheadTime = time.Second / 2

// readAheadFetch is the least number of messages per fetch while reading ahead.
const readAheadFetch = 8

// fetchBytes limits the bytes that the server delivers for one fetch; the largest possible message
// fits. The server closes a connection that has more to deliver than it may buffer (MaxPending); the
// lost messages are then requested again only after some seconds.
const fetchBytes = readAheadBytes + 64<<10

// fetchTime bounds a fetch of pending messages, in case fewer are left than the server said. It is
// shorter than abandonTime.
const fetchTime = 2 * abandonTime / 3

// resetTime bounds one rewind.
const resetTime = 30 * time.Second

// maxUnacked is how many messages a reader may receive without acknowledging any.
const maxUnacked = 20_000

// Reader opens the named position, or creates it. The filters may change; the position stays.
// Reading starts with the first unacknowledged message.
func (c *Conn) Reader(ctx context.Context, cfg ReaderConfig) (*Reader, error) {
	r := &Reader{conn: c, name: readerName(cfg.Name), rewind: true}
	if c.commit == nil {
		return nil, Errorf(FailedPrecondition, "only the gateway itself can read tracks with a stored position")
	}
	gateway := c.commit.bus.Gateway()
	var err error
	if r.patterns, err = trackPatterns(gateway, cfg.Tracks); err != nil {
		return nil, Errorf(InvalidArgument, "%s", err)
	}
	if len(r.patterns) == 0 {
		r.patterns = []string{"gw." + gateway + "." + string(Track) + ".>"}
	}
	r.conf = jetstream.ConsumerConfig{
		// Not AckAll: the server acknowledges a delivered message when it is dropped, which would then
		// acknowledge those of other tracks before it as well.
		Durable: r.name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 24 * time.Hour, MaxAckPending: maxUnacked,
		FilterSubjects: r.patterns, ReplayPolicy: jetstream.ReplayInstantPolicy, MaxDeliver: -1, MaxWaiting: 8,
	}
	if err := r.open(ctx, cfg.New); err != nil {
		return nil, r.failed("open", err)
	}
	return r, nil
}

// open creates the consumer, or updates its filters.
func (r *Reader) open(ctx context.Context, fromNow bool) error {
	js, places := r.conn.commit.bus.js, &r.conn.commit.bus.places
	places.making.RLock()
	defer places.making.RUnlock()
	places.expect(r.name)
	old, err := js.Consumer(ctx, streamTracks, r.name)
	if err == nil {
		was := old.CachedInfo().Config
		r.conf.DeliverPolicy, r.conf.OptStartSeq = was.DeliverPolicy, was.OptStartSeq
		places.begin(r.name, old.CachedInfo().AckFloor.Stream)
		_, err = js.UpdateConsumer(ctx, streamTracks, r.conf)
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return r.make(ctx, fromNow)
	}
	return err
}

// restore recreates the consumer if it has disappeared, unless its position was removed.
func (r *Reader) restore(ctx context.Context) error {
	b := r.conn.commit.bus
	_, err := b.js.Consumer(ctx, streamTracks, r.name)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return err
	}
	b.places.making.RLock()
	defer b.places.making.RUnlock()
	at, ok := b.places.at(r.name)
	if !ok || ctx.Err() != nil {
		return err
	}
	if err = r.make(ctx, false); err == nil {
		b.log.Warn("a reader's position in the tracks was lost: it continues after the last acknowledged record", "reader", r.name, "acknowledged", at)
	}
	return err
}

// make creates the consumer. It starts after the last message acknowledged in this process, if
// known.
func (r *Reader) make(ctx context.Context, fromNow bool) error {
	b := r.conn.commit.bus
	at, known := b.places.at(r.name)
	if known || fromNow {
		s, err := b.js.Stream(ctx, streamTracks)
		if err != nil {
			return err
		}
		last := s.CachedInfo().State.LastSeq
		if !known {
			at = last
		}
		r.conf.DeliverPolicy, r.conf.OptStartSeq = jetstream.DeliverByStartSequencePolicy, min(at, last)+1
	}
	made, err := b.js.CreateConsumer(ctx, streamTracks, r.conf)
	if err == nil {
		r.anew = !known
		b.places.begin(r.name, made.CachedInfo().AckFloor.Stream)
	}
	return err
}

// readerName returns path as a consumer name; no path contains '_'.
func readerName(path string) string { return strings.ReplaceAll(path, "/", "_") }

func pathOf(readerName string) string { return strings.ReplaceAll(readerName, "_", "/") }

// Anew reports whether opening the reader created its position: notes kept elsewhere about an
// earlier position do not apply to it.
func (r *Reader) Anew() bool { return r.anew }

// Next waits until there are messages and returns up to most of them, oldest first. After an error,
// including that of ctx, the next call starts again with the first unacknowledged message.
func (r *Reader) Next(ctx context.Context, most int) (all []Stored, err error) {
	defer func() {
		if err != nil {
			r.rewind = true
		}
	}()
	if r.rewind {
		if err := r.Rewind(ctx); err != nil {
			return nil, err
		}
	}
	// Whether the last fetch was abandoned: its messages may still be delivered to nobody.
	abandoned := false
	// Reading ahead is not worth the memory if few messages are pending.
	ask, readAhead, start := most, r.more, time.Now()
	if readAhead {
		ask = max(most, readAheadFetch)
	}
	for wanted := len(r.ahead) < most; wanted; wanted = len(r.ahead) == 0 || readAhead && r.more && !r.full() && time.Since(start) < readAheadTime {
		began := time.Now()
		more, err := r.fetch(ctx, ask, abandoned || len(r.ahead) > 0)
		abandoned = !abandoned && time.Since(began) > abandonTime
		switch {
		case errors.Is(err, errMissed):
			err = r.Rewind(ctx)
		case over(ctx) != nil && len(more) == 0: // the library has errors of its own for that
			err = r.failed("read", r.conn.reason(ctx, over(ctx)))
		case err != nil:
			err = r.failed("read", r.conn.reason(ctx, err))
		}
		if err != nil {
			return nil, err
		}
		r.ahead = append(r.ahead, more...)
	}
	n := min(most, len(r.ahead))
	all = slices.Clone(r.ahead[:n])
	r.ahead = slices.Delete(r.ahead, 0, n)
	return all, nil
}

// Shed discards the messages that were fetched ahead; they will be delivered again. Call it when
// the reader pauses for a while.
func (r *Reader) Shed() {
	if len(r.ahead) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unacked = slices.DeleteFunc(r.unacked, func(u unacked) bool { return u.Seq >= r.ahead[0].Seq })
	r.ahead, r.rewind = nil, true
}

// full reports whether the messages fetched ahead have reached their limit.
func (r *Reader) full() bool {
	bytes := 0
	for _, s := range r.ahead {
		bytes += len(s.Data)
	}
	return bytes >= readAheadBytes || len(r.ahead) >= readAheadMsgs
}

// over returns why ctx has ended, even if its timer is late.
func over(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && ctx.Err() == nil && time.Until(d) <= 0 {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// abandonTime is the minimum duration of a fetch that the library abandons. It does so silently
// when the server has sent nothing for a second.
const abandonTime = time.Second / 2

// errMissed says that a delivery was lost because the fetch that requested it was abandoned. The
// server counts it as delivered all the same: acknowledging a later message would lose it.
var errMissed = errors.New("a delivery did not arrive")

// fetch returns the pending messages. If there are none it waits for the next one, unless once is
// set.
func (r *Reader) fetch(ctx context.Context, most int, once bool) (all []Stored, err error) {
	r.more = false
	consumer, err := r.conn.commit.bus.js.Consumer(ctx, streamTracks, r.name)
	if err != nil {
		return nil, err
	}
	info := consumer.CachedInfo()
	if info.Delivered.Consumer != r.delivered {
		return nil, errMissed
	}
	began := time.Now()
	if n := min(info.NumPending, uint64(most)); n > 0 {
		all, err = r.drain(ctx, consumer, int(n), jetstream.FetchMaxBytes(fetchBytes), jetstream.FetchMaxWait(fetchTime))
		r.more = info.NumPending > uint64(len(all))
	}
	if err != nil || len(all) > 0 || once || time.Since(began) > abandonTime {
		return all, err
	}
	return r.drain(ctx, consumer, 1, jetstream.FetchContext(ctx))
}

// drain fetches up to most messages and returns them.
func (r *Reader) drain(ctx context.Context, consumer jetstream.Consumer, most int, opts ...jetstream.FetchOpt) ([]Stored, error) {
	batch, err := consumer.Fetch(most, opts...)
	if err != nil {
		return nil, err
	}
	var all []Stored
	for {
		var m jetstream.Msg
		select {
		case m = <-batch.Messages(): // nil: the batch is complete
		case <-ctx.Done(): // the library goes on for up to a second; what it receives is delivered again
		}
		if m == nil {
			break
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.delivered+1 {
			return nil, errMissed
		}
		r.delivered = meta.Sequence.Consumer
		s := stored(Record{
			Msg: Msg{Subject: m.Subject(), ContentType: contentType(first(m.Headers(), headerType)), Data: m.Data()},
			Seq: meta.Sequence.Stream, Time: meta.Timestamp,
		})
		r.mu.Lock()
		r.unacked = append(r.unacked, unacked{s, m.Subject(), m.Reply()})
		r.mu.Unlock()
		all = append(all, s)
	}
	err = batch.Error()
	if err != nil && (errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages)) || ctx.Err() != nil && len(all) > 0 {
		err = nil
	}
	return all, err
}

// Ack acknowledges the message with sequence seq and all that were delivered before it.
func (r *Reader) Ack(seq uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, _ := slices.BinarySearchFunc(r.unacked, seq+1, func(u unacked, seq uint64) int {
		if u.Seq < seq {
			return -1
		}
		return 1
	})
	if n == 0 {
		return nil
	}
	for _, u := range r.unacked[:n] {
		if err := r.conn.nc.Publish(u.reply, nil); err != nil {
			return r.failed("acknowledge", err)
		}
	}
	r.acked = r.unacked[n-1].Seq
	r.conn.commit.bus.places.reach(r.name, r.acked)
	r.unacked = slices.Delete(r.unacked, 0, n)
	return nil
}

// Rewind has all unacknowledged messages delivered again.
func (r *Reader) Rewind(ctx context.Context) error {
	r.mu.Lock()
	acked := r.acked
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, resetTime) // a consumer or server that is going away does not answer
	defer cancel()
	err := r.restore(ctx)
	if err == nil {
		if js := r.conn.commit.bus.js; acked == 0 {
			_, err = js.ResetConsumer(ctx, streamTracks, r.name)
		} else { // the acknowledgement may still be in flight, or have been lost in a restart
			_, err = js.ResetConsumerToSequence(ctx, streamTracks, r.name, acked+1)
		}
	}
	if err != nil {
		return r.failed("rewind", r.conn.reason(ctx, err))
	}
	r.mu.Lock()
	r.rewind, r.delivered, r.ahead, r.unacked = false, 0, nil, nil
	r.mu.Unlock()
	return nil
}

func (r *Reader) failed(what string, err error) error {
	return fmt.Errorf("reader %s: %s tracks: %w", r.name, what, unavailable(err))
}
