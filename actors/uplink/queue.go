package uplink

import (
	"time"

	"gatewayd/protocols/record"
)

// queue holds the records that have been read from the tracks and are not yet acknowledged, oldest
// first.
type queue struct {
	chunks  []chunk
	records int // in all chunks, without the completed ones
	bytes   int
	last    uint64 // sequence of the newest chunk ever pushed
}

// chunk is one message of the store. Its first records may be complete already.
type chunk struct {
	seq     uint64
	stored  time.Time // when it was written
	records []entry
	had     uint64 // sequence of the last completed record; 0: none
}

// entry is one record. size is about how many bytes it takes in a batch; gone means complete; aside
// means that the far end has refused it while it was not known whether it accepts any.
type entry struct {
	record.Record
	size    int
	gone    bool
	aside   bool
	refused time.Time // when the far end last refused it alone or by name; zero: never
}

// push adds a chunk with those of its records that are new. A chunk without records is complete as
// soon as the chunks before it are.
func (q *queue) push(seq uint64, stored time.Time, records []record.Record) {
	if seq <= q.last {
		return // redelivered
	}
	c := chunk{seq: seq, stored: stored, records: make([]entry, len(records))}
	for i, r := range records {
		c.records[i] = entry{Record: r, size: sizeOf(r)}
		q.bytes += c.records[i].size
	}
	q.records += len(records)
	q.last = seq
	q.chunks = append(q.chunks, c)
}

// each calls fn for each entry, oldest first, until it returns false.
func (q *queue) each(fn func(e *entry) bool) {
	for i := range q.chunks {
		for j := range q.chunks[i].records {
			if !fn(&q.chunks[i].records[j]) {
				return
			}
		}
	}
}

// at returns the entry with that number, counted from the oldest.
func (q *queue) at(number int) *entry {
	for i := range q.chunks {
		all := q.chunks[i].records
		if number < len(all) {
			return &all[number]
		}
		number -= len(all)
	}
	return nil
}

// drop removes n entries from the front. It returns the sequence of the newest chunk that is
// complete now; 0: none.
func (q *queue) drop(n int) (done uint64) {
	for len(q.chunks) > 0 {
		c := &q.chunks[0]
		k := min(n, len(c.records))
		for i := range c.records[:k] {
			q.bytes -= c.records[i].size
			c.had = c.records[i].Sequence
			c.records[i] = entry{}
		}
		c.records = c.records[k:]
		q.records -= k
		n -= k
		if len(c.records) > 0 {
			break
		}
		done = c.seq
		q.chunks[0] = chunk{}
		q.chunks = q.chunks[1:]
	}
	if len(q.chunks) == 0 {
		q.chunks = nil
	}
	return done
}

// sizeOf estimates how many bytes a record takes in a batch.
func sizeOf(r record.Record) int {
	n := 48 + len(r.Track) + len(r.Cause)
	for _, f := range r.Fields {
		n += 14 + len(f.Name) + len(f.Unit) + len(f.Quality) + len(f.Cause)
		switch v := f.Value.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v) * 4 / 3
		}
	}
	return n
}
