package mdi

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

// flight is a batch that waits for its acknowledgement.
type flight struct {
	key     int
	since   time.Time
	told    int // number of names told before its first message
	last    int // and before its last message
	waiting map[recordID]waiting
	refused []uplink.Refusal
}

type waiting struct {
	index int // in the batch
	time  time.Time
}

// Submit sends a batch without the records that are known to have arrived and those that can never
// be sent. There must be room in the window.
func (c *Client) Submit(now time.Time, key int, batch []record.Record) []Effect {
	if c.state != opened {
		return nil
	}
	f := &flight{key: key, since: now, waiting: map[recordID]waiting{}}
	var rest []record.Record
	for i, r := range batch {
		r.Fields = c.fields.of(r)
		if err := fits(r); err != nil {
			f.refused = append(f.refused, uplink.Refusal{Index: i, Why: err.Error()})
			continue
		}
		r.Number = c.numbers.of(r)
		at, known := c.settled[idOf(r)]
		delete(c.settled, idOf(r))
		if known && at.Equal(r.Time) {
			continue
		}
		rest = append(rest, r)
		f.waiting[idOf(r)] = waiting{i, r.Time}
	}
	var all []Effect
	for some := range fewBoots(rest) {
		all = append(all, c.names(now, some)...)
		if f.told == 0 {
			f.told = c.announced.count
		}
		all = c.batches(all, now, f, some)
	}
	f.last = c.announced.count
	if c.state != opened {
		return all
	}
	if len(f.waiting) == 0 {
		return append(all, f.settled())
	}
	c.flights = append(c.flights, f)
	return all
}

// batches sends records in as many messages as needed.
func (c *Client) batches(all []Effect, now time.Time, f *flight, records []record.Record) []Effect {
	if len(records) == 0 {
		return all
	}
	b, err := Encode(Pack(records, c.announced.bootIndex))
	switch {
	case err == nil:
		c.said = now
		return append(all, Send(b))
	case len(records) > 1:
		half := len(records) / 2
		return c.batches(c.batches(all, now, f, records[:half]), now, f, records[half:])
	}
	id := idOf(records[0])
	f.refused = append(f.refused, uplink.Refusal{Index: f.waiting[id].index, Why: err.Error()})
	delete(f.waiting, id)
	return all
}

// fewBoots splits records into runs that need no more boots than there are numbers.
func fewBoots(records []record.Record) iter.Seq[[]record.Record] {
	return func(yield func([]record.Record) bool) {
		boots := map[string]bool{}
		from := 0
		for i, r := range records {
			if boots[r.Boot] = true; len(boots) > maxIndexed {
				if !yield(records[from:i]) {
					return
				}
				from, boots = i, map[string]bool{r.Boot: true}
			}
		}
		if from < len(records) {
			yield(records[from:])
		}
	}
}

// maxIndexed is the number of boots one batch may refer to: there are 256 numbers.
const maxIndexed = 256

func (c *Client) acknowledge(m *Acknowledge) []Effect {
	var all []Effect
	rest := c.flights[:0]
	for _, f := range c.flights {
		before := len(f.waiting)
		for id := range f.waiting {
			if within(m.Settled, id) {
				delete(f.waiting, id)
			}
		}
		for _, r := range m.Refused {
			id := recordID{r.Track, r.Sequence}
			if w, waits := f.waiting[id]; waits {
				f.refused = append(f.refused, uplink.Refusal{Index: w.index, Why: r.Why})
				delete(f.waiting, id)
			}
		}
		if len(f.waiting) < before {
			c.progress = true
			c.announced.confirm(f.told) // it came after the names on the same connection
		}
		if len(f.waiting) == 0 {
			c.announced.confirm(f.last)
			all = append(all, f.settled())
			continue
		}
		rest = append(rest, f)
	}
	clear(c.flights[len(rest):])
	c.flights = rest
	return all
}

func (f *flight) settled() Settled {
	slices.SortFunc(f.refused, func(a, b uplink.Refusal) int { return cmp.Compare(a.Index, b.Index) })
	return Settled{f.key, f.refused}
}
