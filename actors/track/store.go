package track

import (
	"fmt"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	trackv1 "gatewayd/schemas/track/v1"
)

// store is what waits to be written, and what is known of the chunks written before.
type store struct {
	known           bool   // next and before are known
	asked           bool   // a request for the state is under way
	next            uint64 // next sequence on disk
	before          uint64 // bytes of all chunks so far
	anchors         []record.Anchor
	untrustedOnDisk bool // records of this boot with a wrong time are on disk

	waiting  []record.Record
	size     uint64 // approximate bytes of waiting
	added    uint64 // records ever added
	skipped  uint64 // records dropped before they got a sequence
	flight   *flight
	flushing *actors.Timer
	waits    []wait

	trouble string
	dropped uint64
	unsaid  trackv1.Dropped // dropped records not yet reported by an event
	touched bool            // something was written since the last look
	written uint64          // records in this life
}

// flight is the chunk being stored. No other chunk is stored before it.
type flight struct {
	payload []byte
	first   uint64
	count   uint64
	from    uint64 // value of added before its first record
	out     bool   // handed to the store; the outcome is awaited
}

// wait is a caller waiting for a record to be on disk.
type wait struct {
	req *actors.Request
	at  uint64 // value of added up to and including the record
}

const (
	chunkBytes = 128 << 10       // approximate size of the records in one chunk
	retryAfter = 2 * time.Second // pause after a failed write
)

// add queues records for writing.
func (t *track) add(c *actors.Context, all []record.Record) {
	s := &t.store
	show := len(all) > 0 && c.HasSubscribers(records)
	for _, r := range all {
		r.Track, r.Number, r.Boot = c.Name(), t.cfg.Number, t.boot
		s.waiting = append(s.waiting, r)
		s.size += sizeOf(&r)
		s.added++
		if show {
			c.Trace(records, shown(&r))
		}
	}
	t.shed()
	switch {
	case len(s.waiting) == 0 || s.flight != nil:
	case s.size >= chunkBytes && s.trouble == "":
		t.write(c)
	case s.flushing == nil:
		s.flushing = c.After(t.cfg.Flush.AsDuration(), flush{})
	}
}

// sizeOf estimates the memory a record takes.
func sizeOf(r *record.Record) uint64 {
	n := 160 + len(r.Cause)
	for _, f := range r.Fields {
		n += 96 + len(f.Cause)
	}
	return uint64(n)
}

// shed drops the oldest waiting records if they take more than the allowed memory. This leaves a
// gap in the sequence.
func (t *track) shed() {
	s := &t.store
	n := 0
	for ; s.size > t.cfg.Memory && n < len(s.waiting)-1; n++ {
		s.size -= sizeOf(&s.waiting[n])
	}
	if n == 0 {
		return
	}
	clear(s.waiting[:n])
	s.waiting = s.waiting[n:]
	if s.known {
		from := s.upcoming() + s.skipped
		if s.unsaid.From == 0 {
			s.unsaid.From = from
		}
		s.unsaid.To = from + uint64(n) - 1
	}
	s.skipped += uint64(n)
	s.dropped += uint64(n)
	s.unsaid.Records += uint64(n)
}

// upcoming returns the sequence that follows the chunk under way.
func (s *store) upcoming() uint64 {
	if s.flight != nil {
		return s.flight.first + s.flight.count
	}
	return s.next
}

// write hands a chunk to the store, or the last one again if it failed.
func (t *track) write(c *actors.Context) {
	s := &t.store
	s.flushing.Stop()
	s.flushing = nil
	if !s.known {
		t.ask(c)
		return
	}
	if s.flight == nil && len(s.waiting) > 0 {
		t.pack()
	}
	if s.flight != nil && !s.flight.out {
		s.flight.out = true
		t.keep(c, s.flight)
	}
}

func (t *track) keep(c *actors.Context, f *flight) {
	priority := actors.Normal
	switch t.cfg.Priority {
	case "low":
		priority = actors.Low
	case "high":
		priority = actors.High
	}
	c.Keep(records, record.ChunkType, f.payload, priority, f)
}

// pack makes a chunk of the waiting records.
func (t *track) pack() {
	s := &t.store
	n, size := 0, uint64(0)
	for n < len(s.waiting) && n < record.MaxChunk && (n == 0 || size < chunkBytes) {
		size += sizeOf(&s.waiting[n])
		n++
	}
	t.encode(s.waiting[:n])
	s.size -= size
	clear(s.waiting[:n])
	s.waiting = s.waiting[n:]
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
}

// encode makes a chunk of the given records, possibly none.
func (t *track) encode(all []record.Record) {
	s := &t.store
	first, count := s.next+s.skipped, uint64(len(all))
	for i := range all {
		all[i].Sequence = first + uint64(i)
		s.untrustedOnDisk = s.untrustedOnDisk || !all[i].Trusted
	}
	payload, err := record.Encode(&record.Chunk{
		Number: t.cfg.Number, First: first, Count: count, Before: s.before, Boot: t.boot, Anchors: s.anchors, Records: all,
	})
	if err != nil {
		panic(fmt.Errorf("records cannot be written: %w", err))
	}
	s.flight = &flight{payload: payload, first: first, count: count, from: s.added - uint64(len(s.waiting))}
	s.skipped = 0
}

// mark writes a chunk without records. It keeps the current sequence and the clock corrections on
// disk.
func (t *track) mark(c *actors.Context) {
	if t.store.known && t.store.flight == nil {
		t.encode(nil)
		t.write(c)
	}
}

// kept handles the outcome of a write.
func (t *track) kept(c *actors.Context, m actors.Kept) {
	s := &t.store
	f, ok := m.Tag.(*flight)
	if !ok || f != s.flight {
		return
	}
	f.out = false
	if m.Err != nil {
		t.trouble(c, m.Err)
		return
	}
	s.landed()
	s.touched = true
	s.written += f.count
	left := s.waits[:0]
	for _, w := range s.waits {
		if w.at <= f.from+f.count {
			w.req.Reply(&trackv1.RecordResponse{Sequence: f.first + (w.at - f.from - 1)})
			continue
		}
		left = append(left, w)
	}
	clear(s.waits[len(left):])
	s.waits = left
	t.recovered(c)
	if s.size >= chunkBytes || len(s.waits) > 0 {
		t.write(c)
	} else if len(s.waiting) > 0 && s.flushing == nil {
		s.flushing = c.After(t.cfg.Flush.AsDuration(), flush{})
	}
}

// landed advances the sequence past the stored chunk.
func (s *store) landed() {
	s.next, s.before = s.flight.first+s.flight.count, s.before+uint64(len(s.flight.payload))
	s.flight = nil
}

// last hands the remaining records to the store when the life ends. Nobody receives the outcome.
func (t *track) last(c *actors.Context) {
	s := &t.store
	if !s.known {
		return
	}
	for s.flight != nil || len(s.waiting) > 0 {
		if s.flight == nil {
			t.pack()
		}
		if !s.flight.out {
			t.keep(c, s.flight)
		}
		s.landed()
	}
}
