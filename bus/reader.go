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

// Reading tracks. A Reader is a place in the stream of all tracks that has a name and outlives restarts and power cuts: what has been
// acknowledged is not delivered again, everything else is, in the order in which it was written. Next waits for messages, Ack acknowledges one and
// all before it, Rewind has everything delivered again that is not acknowledged, which any error of Next does by itself. Tell what has come
// twice by what the messages say of themselves (record.Follow does): after a power cut the last acknowledgements may be forgotten.

// Stored is one message of a track.
type Stored struct {
	Path        string // of the actor that wrote it
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
	Name   string   // an actor's path, whoever reads
	Tracks []string // paths of actors, or MQTT-style filters of paths like "tracks/+" or "#"; none: all
	New    bool     // a reader that is made now begins with what is written from now on, not with the oldest there is
}

// Reader is one reader's place in the tracks. One goroutine reads at a time; Ack and Backlog are for any.
type Reader struct {
	conn     *Conn
	name     string
	patterns []string
	conf     jetstream.ConsumerConfig // of the place, as it is made
	anew     bool                     // there was no place, and nothing is known of an earlier one
	rewind   bool
	came     uint64   // number of the last delivery since the place was rewound
	ahead    []Stored // what has come and was not wanted yet
	plenty   bool     // the last time as much came as was asked for

	mu      sync.Mutex
	acked   uint64 // the last one; 0: none yet
	unacked []unacked
}

type unacked struct {
	Stored
	subject, reply string
}

// gulp is how many bytes of messages are taken from the server one after the other, where so many wait. The server reads a block of 8 MB for whatever it is asked,
// and keeps it until the next collection of garbage: asked for little at a time it reads the same block again and again, and has two of them.
const gulp = 1 << 20

// mostGulp is how many messages that are at most.
const mostGulp = 2048

// gulpTime is how long that goes on at most: a slow disk is not to hold up what has come.
const gulpTime = time.Second / 2

// sip is how many messages are asked for at once then, where fewer are wanted. Each may be as large as any, and what the server may hold for a connection
// (MaxPending) is little.
const sip = 8

// resetTime is what it may take at most to put a place back.
const resetTime = 30 * time.Second

// maxUnacked is how many messages a reader may hold without acknowledging any.
const maxUnacked = 20_000

// Reader opens the place of that name, or makes it. What it reads may change; its place stays. It begins with what was not acknowledged.
func (c *Conn) Reader(ctx context.Context, cfg ReaderConfig) (*Reader, error) {
	r := &Reader{conn: c, name: readerName(cfg.Name), rewind: true}
	if c.commit == nil {
		return nil, Errorf(FailedPrecondition, "only the gateway itself reads tracks for good")
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
		Durable: r.name, AckPolicy: jetstream.AckAllPolicy, AckWait: 24 * time.Hour, MaxAckPending: maxUnacked,
		FilterSubjects: r.patterns, ReplayPolicy: jetstream.ReplayInstantPolicy, MaxDeliver: -1, MaxWaiting: 8,
	}
	if err := r.open(ctx, cfg.New); err != nil {
		return nil, r.failed("open", err)
	}
	return r, nil
}

// open makes the place, or changes what is read from it.
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

// found has the place made anew if it has gone, unless it was given up.
func (r *Reader) found(ctx context.Context) error {
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
		b.log.Warn("a reader's place in the tracks had gone: it goes on behind what it has acknowledged", "reader", r.name, "acknowledged", at)
	}
	return err
}

// make makes the place: behind what was acknowledged in this process, if there is any that knows it.
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

// readerName is a path as the server takes it; no path has '_'.
func readerName(path string) string { return strings.ReplaceAll(path, "/", "_") }

func pathOf(readerName string) string { return strings.ReplaceAll(readerName, "_", "/") }

// Anew says whether the place was made when it was opened: what was noted beside an earlier one is not of it.
func (r *Reader) Anew() bool { return r.anew }

// Next waits until there are messages and returns at most so many, the oldest first. After an error, also that of ctx, it begins again
// with the first one that is not acknowledged.
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
	doubt := false                                  // a fetch was given up: what it was to bring may still go to nobody
	ask, gulps, start := most, r.plenty, time.Now() // where not so many wait it is not worth the room
	if gulps {
		ask = max(most, sip)
	}
	for thirst := len(r.ahead) < most; thirst; thirst = len(r.ahead) == 0 || gulps && r.plenty && !r.full() && time.Since(start) < gulpTime {
		began := time.Now()
		more, err := r.fetch(ctx, ask, doubt || len(r.ahead) > 0)
		doubt = !doubt && time.Since(began) > givenUp
		switch {
		case errors.Is(err, errMissed):
			err = r.Rewind(ctx)
		case over(ctx) != nil && len(more) == 0: // the library has words of its own for that
			err = r.failed("read", r.conn.reason(ctx, over(ctx)))
		case err != nil:
			err = r.failed("read", r.conn.reason(ctx, err))
		}
		if err != nil {
			return nil, err
		}
		r.plenty = len(more) >= ask
		r.ahead = append(r.ahead, more...)
	}
	n := min(most, len(r.ahead))
	all = slices.Clone(r.ahead[:n])
	r.ahead = slices.Delete(r.ahead, 0, n)
	return all, nil
}

// Shed forgets what has come and was not wanted yet: it comes again. It is for whoever reads, when he will not for a while.
func (r *Reader) Shed() {
	if len(r.ahead) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unacked = slices.DeleteFunc(r.unacked, func(u unacked) bool { return u.Seq >= r.ahead[0].Seq })
	r.ahead, r.rewind = nil, true
}

// full says whether so much has come that was not wanted yet that no more is to be asked for.
func (r *Reader) full() bool {
	bytes := 0
	for _, s := range r.ahead {
		bytes += len(s.Data)
	}
	return bytes >= gulp || len(r.ahead) >= mostGulp
}

// over is why ctx ends, also where its timer is late.
func over(ctx context.Context) error {
	if d, ok := ctx.Deadline(); ok && ctx.Err() == nil && time.Until(d) <= 0 {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// givenUp is what a fetch takes at least that the library gives up: it does so, without a word, when the server has been silent for a second.
const givenUp = time.Second / 2

// errMissed says that a delivery went to nobody, for the fetch that had asked for it was given up. It counts as delivered all the same: to
// acknowledge what comes after it would be to lose it.
var errMissed = errors.New("a delivery did not arrive")

// fetch brings what there is. If that is nothing it waits for the next message, but not at once.
func (r *Reader) fetch(ctx context.Context, most int, once bool) (all []Stored, err error) {
	consumer, err := r.conn.commit.bus.js.Consumer(ctx, streamTracks, r.name)
	if err != nil {
		return nil, err
	}
	if consumer.CachedInfo().Delivered.Consumer != r.came {
		return nil, errMissed
	}
	began := time.Now()
	batch, err := consumer.FetchNoWait(most)
	if err == nil {
		all, err = r.drain(ctx, batch)
	}
	if err != nil || len(all) > 0 || once || time.Since(began) > givenUp {
		return all, err
	}
	if batch, err = consumer.Fetch(1, jetstream.FetchContext(ctx)); err == nil {
		all, err = r.drain(ctx, batch)
	}
	return all, err
}

// drain takes what a fetch brings.
func (r *Reader) drain(ctx context.Context, batch jetstream.MessageBatch) ([]Stored, error) {
	var all []Stored
	for {
		var m jetstream.Msg
		select {
		case m = <-batch.Messages(): // nil: that was all
		case <-ctx.Done(): // the library goes on for up to a second; what it gets is delivered again
		}
		if m == nil {
			break
		}
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		if meta.Sequence.Consumer != r.came+1 {
			return nil, errMissed
		}
		r.came = meta.Sequence.Consumer
		s := stored(Record{
			Msg: Msg{Subject: m.Subject(), ContentType: contentType(first(m.Headers(), headerType)), Data: m.Data()},
			Seq: meta.Sequence.Stream, Time: meta.Timestamp,
		})
		r.mu.Lock()
		r.unacked = append(r.unacked, unacked{s, m.Subject(), m.Reply()})
		r.mu.Unlock()
		all = append(all, s)
	}
	err := batch.Error()
	if err != nil && (errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages)) || ctx.Err() != nil && len(all) > 0 {
		err = nil
	}
	return all, err
}

// Ack acknowledges the message of that sequence and all that were delivered before it.
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
	if err := r.conn.nc.Publish(r.unacked[n-1].reply, nil); err != nil {
		return r.failed("acknowledge", err)
	}
	r.acked = r.unacked[n-1].Seq
	r.conn.commit.bus.places.reach(r.name, r.acked)
	r.unacked = slices.Delete(r.unacked, 0, n)
	return nil
}

// Rewind has everything delivered again that is not acknowledged.
func (r *Reader) Rewind(ctx context.Context) error {
	r.mu.Lock()
	acked := r.acked
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, resetTime) // a place that goes now, or a server, is not there to answer
	defer cancel()
	err := r.found(ctx)
	if err == nil {
		if js := r.conn.commit.bus.js; acked == 0 {
			_, err = js.ResetConsumer(ctx, streamTracks, r.name)
		} else { // the acknowledgement may still be on its way, or have been forgotten in a restart
			_, err = js.ResetConsumerToSequence(ctx, streamTracks, r.name, acked+1)
		}
	}
	if err != nil {
		return r.failed("rewind", r.conn.reason(ctx, err))
	}
	r.mu.Lock()
	r.rewind, r.came, r.ahead, r.unacked = false, 0, nil, nil
	r.mu.Unlock()
	return nil
}

func (r *Reader) failed(what string, err error) error {
	return fmt.Errorf("reader %s: %s tracks: %w", r.name, what, unavailable(err))
}
