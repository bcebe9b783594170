package uplink

import (
	"context"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// ahead is what goes before an older backlog, if the config wants fresh data first: what is recorded from now on is read beside the place in the tracks
// and sent first. What the far end has of it is noted and passed over when the place comes to it, so that each record is sent once. The records of a
// track then are in order on either way, and those of the backlog come after younger ones: their sequences and times tell.
type ahead struct {
	fresh  lane
	from   uint64 // sequence in the store with which the way begins; 0: there is none
	coming uint64 // to be read next
	way    int    // which one
	asking bool   // where the store ends
	peeks  bool   // a worker reads
	peekAt time.Time
	lags   int   // readings in a row that brought as much as was asked for
	held   *took // what the place has brought and may be under way already

	past  []stretch         // what the far end has, the oldest first; the last one is of the way there is
	parts map[uint64]uint64 // of messages of which it has some: the sequence of the last record of these
	early uint64            // records in past that the place has not come to
	reads []string          // tracks that are read; nil: none yet
	anew  bool              // the place was made in this life: what was noted is not of it
	moved bool              // past is not as it is written down
}

// stretch is messages of the store, both ends included.
type stretch struct{ first, last uint64 }

const (
	mostWays  = 64 // that have not been passed; beyond that the backlog is sent in order
	mostLags  = 4  // readings in a row that are full: then the way itself is behind, after another outage for instance
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

// precede has what is recorded now read and sent before an older backlog.
func (e *engine) precede(c *actors.Context) {
	now := time.Now()
	switch {
	case e.from > 0:
		if over := e.cfg.CatchUpOrder != freshFirst || e.lags >= mostLags && len(e.past) < mostWays; over && !e.sending {
			e.join() // to begin anew with what is fresh now, perhaps
			e.lags = 0
			return
		}
		e.peek(c, now)
	case e.cfg.CatchUpOrder != freshFirst || e.asking || e.sender == nil || e.reader == nil || !e.main.filled && !e.throttled() || len(e.past) >= mostWays:
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

// ended begins a way behind what is in the store.
func (e *engine) ended(c *actors.Context, m ended) {
	e.asking = false
	if m.err != nil || m.number != e.way || e.sender == nil {
		return
	}
	e.from = max(m.last, e.main.last) + 1
	e.coming, e.peekAt, e.lags, e.fresh = e.from, time.Time{}, 0, lane{}
	e.past = append(e.past, stretch{e.from, e.from - 1})
}

// peek has a worker read what has come.
func (e *engine) peek(c *actors.Context, now time.Time) {
	if e.peeks || e.sender == nil || e.reader == nil || e.peekAt.After(now) || e.fresh.records >= 2*e.portions.Records || e.fresh.bytes >= 2*e.portions.Bytes {
		return
	}
	e.peeks = true
	reader, number, next, asked := e.reader, e.way, e.coming, e.fresh.appetite(e.portions.Records)
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
			records, _, _ = l.follow.Chunk(s.Path, s.Data) // what is damaged or missing is told when the place comes to it
		}
		l.push(s.Seq, s.Time, records)
	}
	l.came(len(m.messages), l.records-before)
	e.settleFresh(0)
}

// settleFresh takes off so many entries, and notes what is done with.
func (e *engine) settleFresh(n int) {
	e.early += uint64(n)
	if seq := e.fresh.drop(n); seq > 0 {
		e.past[len(e.past)-1].last = seq
	}
	e.moved = true
}

// overtaken says whether messages of the place have come to where the way ahead begins.
func (e *engine) overtaken(messages []actors.Stored) bool {
	return e.from > 0 && slices.ContainsFunc(messages, func(s actors.Stored) bool { return s.Seq >= e.from })
}

// join ends the way ahead: what is left of it the place will come to.
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

// without are those records of a message that the far end does not have already.
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

// passed forgets what the place has come past.
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

// forgetAhead forgets what the far end has: other tracks are to be read, and some of it may be of those; or the place is another one, and perhaps the
// far end too.
func (e *engine) forgetAhead() {
	e.join()
	e.moved = e.moved || len(e.past)+len(e.parts) > 0
	e.past, e.parts, e.early = nil, nil, 0
}

// aheadNow is what is written down for the next life.
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

// recallAhead takes over what former lives have written down, if it is of the same tracks.
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
