package mdi

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

func (f *flight) settled() Settled {
	slices.SortFunc(f.refused, func(a, b uplink.Refusal) int { return cmp.Compare(a.Index, b.Index) })
	return Settled{f.key, f.refused}
}

// rangesOf are the records of a set in as few ranges as there are.
func rangesOf[V any](set map[recordID]V) []Range {
	ids := make([]recordID, 0, len(set))
	for id := range set {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b recordID) int {
		return cmp.Or(cmp.Compare(a.track, b.track), cmp.Compare(a.sequence, b.sequence))
	})
	return join(ids)
}

// join makes ranges of sorted records.
func join(ids []recordID) []Range {
	var all []Range
	for _, id := range ids {
		if n := len(all); n > 0 {
			last := &all[n-1]
			end := last.First + uint64(last.More)
			if last.Track == id.track && id.sequence == end {
				continue
			}
			if last.Track == id.track && id.sequence == end+1 && last.More < 65535 {
				last.More++
				continue
			}
		}
		all = append(all, Range{Track: id.track, First: id.sequence})
	}
	return all
}

// within says whether a record is in one of the ranges.
func within(all []Range, id recordID) bool {
	return slices.ContainsFunc(all, func(r Range) bool {
		return r.Track == id.track && id.sequence >= r.First && id.sequence-r.First <= uint64(r.More)
	})
}

// told are the names that the receiver has been told. They come before what needs them, so that an acknowledgement of that confirms
// them; those that are not confirmed when a connection ends are told again.
type told struct {
	count     int // so far
	confirmed int // of them
	tracks    map[uint32]*toldTrack
	boots     map[string]toldBoot
	next      uint8 // index of a boot
}

type toldTrack struct {
	name   string
	number int // which one of count it was
	fields map[uint16]toldField
}

type toldField struct {
	Field
	number int
}

type toldBoot struct {
	index  uint8
	number int
}

func (t *told) confirm(n int) { t.confirmed = max(t.confirmed, n) }

// lost forgets what is not confirmed.
func (t *told) lost() {
	for number, track := range t.tracks {
		if track.number > t.confirmed {
			delete(t.tracks, number)
			continue
		}
		for id, f := range track.fields {
			if f.number > t.confirmed {
				delete(track.fields, id)
			}
		}
	}
	for id, b := range t.boots {
		if b.number > t.confirmed {
			delete(t.boots, id)
		}
	}
	t.count = t.confirmed
}

func (t *told) boot(id string) uint8 { return t.boots[valid(id)].index }

// names tells what the receiver needs for these records.
func (c *Client) names(now time.Time, records []record.Record) []Effect {
	var all []Effect
	var fresh []*Track
	for _, r := range records {
		if m := c.told.bootOf(valid(r.Boot)); m != nil {
			all = c.send(all, now, m)
		}
		m := c.told.trackOf(r)
		if m == nil {
			continue
		}
		if i := slices.IndexFunc(fresh, func(had *Track) bool { return had.Number == m.Number }); i >= 0 {
			fresh[i].Fields = append(fresh[i].Fields, m.Fields...)
			continue
		}
		fresh = append(fresh, m)
	}
	for _, m := range fresh {
		if len(m.Fields) == 0 {
			all = c.send(all, now, m)
		}
		for some := range slices.Chunk(m.Fields, mostNamed) {
			all = c.send(all, now, &Track{Number: m.Number, Name: m.Name, Fields: some})
		}
	}
	return all
}

// fewBoots cuts records into runs that the numbers of boots suffice for.
func fewBoots(records []record.Record) iter.Seq[[]record.Record] {
	return func(yield func([]record.Record) bool) {
		boots := map[string]bool{}
		from := 0
		for i, r := range records {
			if boots[r.Boot] = true; len(boots) > mostIndexed {
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

// mostIndexed is how many boots one batch refers to: there are 256 numbers for them.
const mostIndexed = 256

// mostNamed is how many fields one message names: that many fit, however long their names.
const mostNamed = 100

// trackNumbers are those of the tracks in a session: their own, unless two have the same.
type trackNumbers struct {
	byName map[string]uint32
	taken  map[uint32]bool
}

func (n *trackNumbers) of(r record.Record) uint32 {
	if number, known := n.byName[r.Track]; known {
		return number
	}
	if n.byName == nil {
		n.byName, n.taken = map[string]uint32{}, map[uint32]bool{}
	}
	number := r.Number
	for n.taken[number] {
		number-- // from 2^32-1 on, if 0 is taken
	}
	n.byName[r.Track], n.taken[number] = number, true
	return number
}

// bootOf tells of a boot, nil if it has been told.
func (t *told) bootOf(id string) *Boot {
	if _, known := t.boots[id]; known {
		return nil
	}
	if t.boots == nil {
		t.boots = map[string]toldBoot{}
	}
	for had, b := range t.boots {
		if b.index == t.next {
			delete(t.boots, had) // more than there are numbers for: the oldest is told again if it is needed
		}
	}
	t.count++
	t.boots[id] = toldBoot{t.next, t.count}
	t.next++
	return &Boot{Index: t.boots[id].index, ID: id}
}

// trackOf tells what is new of a record's track and its fields, nil if nothing is.
func (t *told) trackOf(r record.Record) *Track {
	name := valid(r.Track)
	track := t.tracks[r.Number]
	fresh := track == nil || track.name != name
	if fresh {
		if t.tracks == nil {
			t.tracks = map[uint32]*toldTrack{}
		}
		t.count++
		track = &toldTrack{name: name, number: t.count, fields: map[uint16]toldField{}}
		t.tracks[r.Number] = track
	}
	m := &Track{Number: r.Number, Name: name}
	for _, f := range r.Fields {
		field := Field{ID: uint16(f.ID), Name: valid(f.Name), Unit: valid(f.Unit)}
		if had, known := track.fields[field.ID]; known && had.Field == field {
			continue
		}
		t.count++
		track.fields[field.ID] = toldField{field, t.count}
		m.Fields = append(m.Fields, field)
	}
	if !fresh && len(m.Fields) == 0 {
		return nil
	}
	return m
}
