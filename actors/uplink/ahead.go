package uplink

import (
	"context"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// ahead is the state of sending fresh data before an older backlog (catch-up-order "fresh-first").
// Records stored from now on are read independently of the uplink's read position and sent first.
// The ranges already delivered are noted, and are skipped when the read position reaches them, so
// each record is sent once. Records of one track are in order within each of the two streams, but
// those of the backlog arrive after younger ones; their sequences and times show it.
type ahead struct {
	fresh  lane
	from   uint64 // store sequence at which the fresh stream begins; 0: there is none
	coming uint64 // next sequence to read
	way    int    // number of the fresh stream, to recognise late results of an earlier one
	asking bool   // a worker is asking for the end of the store
	peeks  bool   // a worker is reading
	peekAt time.Time
	lags   int   // consecutive reads that returned as many messages as requested
	held   *took // messages from the read position that may be under way already

	// Ranges that the far end has, oldest first; the last belongs to the current fresh stream, if
	// there is one.
	past []stretch
	// Messages of which the far end has some records: the sequence of the last of those records.
	parts map[uint64]uint64
	early uint64   // number of records in past that the read position has not reached
	reads []string // tracks being read; nil: none yet
	anew  bool     // the read position was created in this life, so older notes do not apply to it
	moved bool     // past differs from the stored note
}

// stretch is a range of store sequences, both ends included.
type stretch struct{ first, last uint64 }

const (
	maxWays = 64 // ranges not yet passed; beyond that the backlog is sent in order
	// Consecutive full reads after which the fresh stream counts as a backlog itself, for instance
	// after another outage.
	maxLags   = 4
	peekPause = 500 * time.Millisecond
)

type (
	ended struct {
		number int
		last   uint64 // in the store
		err    error
	}
	peeked struct {
		took
		number int
	}
)

// precede reads and sends fresh records before an older backlog.
func (e *engine) precede(c *actors.Context) {
	now := time.Now()
	switch {
	case e.from > 0:
		if over := e.cfg.CatchUpOrder != freshFirst || e.lags >= maxLags && len(e.past) < maxWays; over && !e.sending {
			e.join() // to start again, possibly, with what is fresh now
			e.lags = 0
			return
		}
		e.peek(c, now)
	case e.cfg.CatchUpOrder != freshFirst || e.asking || e.sender == nil || e.reader == nil || !e.main.filled && !e.throttled() || len(e.past) >= maxWays:
	default:
		e.asking = true
		reader, number := e.reader, e.way
		c.Do(openTime, func(ctx context.Context) (any, error) {
			last, err := reader.End(ctx)
			return ended{number, last, err}, nil
		})
	}
}

const freshFirst = "fresh-first"

// ended starts a fresh stream after the newest message in the store.
func (e *engine) ended(c *actors.Context, m ended) {
	e.asking = false
	if m.err != nil || m.number != e.way || e.sender == nil {
		return
	}
	e.from = max(m.last, e.main.last) + 1
	e.coming, e.peekAt, e.lags, e.fresh = e.from, time.Time{}, 0, lane{}
	e.past = append(e.past, stretch{e.from, e.from - 1})
}

// peek starts a worker that reads new messages of the fresh stream.
func (e *engine) peek(c *actors.Context, now time.Time) {
	if e.peeks || e.sender == nil || e.reader == nil || e.peekAt.After(now) || e.fresh.records >= 2*e.portions.Records || e.fresh.bytes >= 2*e.portions.Bytes {
		return
	}
	e.peeks = true
	reader, number, next, asked := e.reader, e.way, e.coming, e.fresh.readSize(e.portions.Records)
	c.Do(openTime, func(ctx context.Context) (any, error) {
		all, err := reader.Peek(ctx, next, asked)
		return peeked{took{all, asked, err}, number}, nil
	})
}

func (e *engine) peeked(c *actors.Context, m peeked) {
	e.peeks = false
	if m.number != e.way || e.from == 0 {
		return
	}
	if e.lags++; m.err != nil || len(m.messages) < m.asked {
		e.lags = 0
		pause := max(peekPause, e.portions.Flush)
		e.peekAt = time.Now().Add(pause)
		c.After(pause, again{})
	}
	if m.err != nil || len(m.messages) == 0 {
		return
	}
	l := &e.fresh
	if l.filled = len(m.messages) >= m.asked; l.records == 0 {
		l.since = time.Now()
	}
	before := l.records
	for _, s := range m.messages {
		e.coming = s.Seq + 1
		var records []record.Record
		if s.ContentType == record.ChunkType {
			// Damaged or missing records are reported when the read position gets there.
			records, _, _ = l.follow.Chunk(s.Path, s.Data)
		}
		l.push(s.Seq, s.Time, records)
	}
	l.came(len(m.messages), l.records-before)
	e.settleFresh(0)
}

// settleFresh removes n entries from the fresh queue and notes the messages that are complete.
func (e *engine) settleFresh(n int) {
	e.early += uint64(n)
	if seq := e.fresh.drop(n); seq > 0 {
		e.past[len(e.past)-1].last = seq
	}
	e.moved = true
}

// overtaken reports whether one of the messages, which come from the read position, is at or after
// the start of the fresh stream.
func (e *engine) overtaken(messages []actors.Stored) bool {
	return e.from > 0 && slices.ContainsFunc(messages, func(s actors.Stored) bool { return s.Seq >= e.from })
}

// join ends the fresh stream. The read position will get to whatever is left of it.
func (e *engine) join() {
	if e.from == 0 {
		return
	}
	if len(e.fresh.chunks) > 0 {
		if head := e.fresh.chunks[0]; head.had > 0 {
			if e.parts == nil {
				e.parts = map[uint64]uint64{}
			}
			e.parts[head.seq] = head.had
		}
	}
	if last := &e.past[len(e.past)-1]; last.last < last.first {
		e.past = e.past[:len(e.past)-1]
	}
	e.from, e.fresh = 0, lane{}
	e.way++
	e.moved = true
}

// without returns the records of a message that the far end does not have yet.
func (e *engine) without(seq uint64, records []record.Record) []record.Record {
	n := 0
	if slices.ContainsFunc(e.past, func(s stretch) bool { return s.first <= seq && seq <= s.last }) {
		n = len(records)
	} else if last, some := e.parts[seq]; some {
		for n < len(records) && records[n].Sequence <= last {
			n++
		}
	}
	e.early -= min(e.early, uint64(n))
	return records[n:]
}

// passed drops the notes on messages up to seq, which the read position has passed.
func (e *engine) passed(seq uint64) {
	before := len(e.past) + len(e.parts)
	e.past = slices.DeleteFunc(e.past, func(s stretch) bool { return s.last >= s.first && s.last <= seq && s.first != e.from })
	for at := range e.parts {
		if at <= seq {
			delete(e.parts, at)
		}
	}
	if len(e.past)+len(e.parts) == 0 {
		e.early = 0
	}
	e.moved = e.moved || before != len(e.past)+len(e.parts)
}

// forgetAhead forgets what the far end has received ahead of the read position. It is called when
// the tracks change, since the notes may be about other tracks, and when the read position is a new
// one, since the far end may be another one too.
func (e *engine) forgetAhead() {
	e.join()
	e.moved = e.moved || len(e.past)+len(e.parts) > 0
	e.past, e.parts, e.early = nil, nil, 0
}

// aheadNow returns the note for the next life.
func (e *engine) aheadNow() *uplinkv1.Ahead {
	m := &uplinkv1.Ahead{Tracks: e.reads, Records: e.early}
	for _, s := range e.past {
		if s.last >= s.first {
			m.Stretches = append(m.Stretches, &uplinkv1.Stretch{First: s.first, Last: s.last})
		}
	}
	for seq, last := range e.parts {
		m.Parts = append(m.Parts, &uplinkv1.Part{Message: seq, Last: last})
	}
	return m
}

// recallAhead restores the note of an earlier life if it is about the same tracks.
func (e *engine) recallAhead(m *uplinkv1.Ahead) {
	if e.anew {
		e.moved = e.moved || len(m.Stretches)+len(m.Parts) > 0
		return
	}
	if e.from > 0 || len(e.past) > 0 || !slices.Equal(m.Tracks, e.cfg.Tracks) {
		return
	}
	for _, s := range m.Stretches {
		e.past = append(e.past, stretch{s.First, s.Last})
	}
	for _, p := range m.Parts {
		if e.parts == nil {
			e.parts = map[uint64]uint64{}
		}
		e.parts[p.Message] = p.Last
	}
	e.early = m.Records
}
