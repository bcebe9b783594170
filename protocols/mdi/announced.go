package mdi

import (
	"slices"
	"time"

	"gatewayd/protocols/record"
)

// announced are the names that the receiver has been told. A name is sent before the first message
// that needs it, so the acknowledgement of that message confirms it. Names not confirmed when a
// connection ends are sent again.
type announced struct {
	count     int // so far
	confirmed int // number of them confirmed
	tracks    map[uint32]*announcedTrack
	boots     map[string]announcedBoot
	next      uint8 // index of the next boot
}

type announcedTrack struct {
	name   string
	number int // value of count when it was told
	fields map[uint16]announcedField
}

type announcedField struct {
	Field
	number int
}

type announcedBoot struct {
	index  uint8
	number int
}

func (t *announced) confirm(n int) { t.confirmed = max(t.confirmed, n) }

// lost forgets what is not confirmed.
func (t *announced) lost() {
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

func (t *announced) bootIndex(id string) uint8 { return t.boots[valid(id)].index }

// names returns the messages with the names that the receiver needs for these records.
func (c *Client) names(now time.Time, records []record.Record) []Effect {
	var all []Effect
	var fresh []*Track
	for _, r := range records {
		if m := c.announced.bootOf(valid(r.Boot)); m != nil {
			all = c.send(all, now, m)
		}
		m := c.announced.trackOf(r)
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
		for some := range slices.Chunk(m.Fields, maxNamed) {
			all = c.send(all, now, &Track{Number: m.Number, Name: m.Name, Fields: some})
		}
	}
	return all
}

// maxNamed is the number of fields that fit into one message however long their names are.
const maxNamed = 100

// bootOf returns the message that names a boot; nil if it has been told.
func (t *announced) bootOf(id string) *Boot {
	if _, known := t.boots[id]; known {
		return nil
	}
	if t.boots == nil {
		t.boots = map[string]announcedBoot{}
	}
	for had, b := range t.boots {
		if b.index == t.next {
			delete(t.boots, had) // all numbers are used: the oldest boot is told again if it is needed
		}
	}
	t.count++
	t.boots[id] = announcedBoot{t.next, t.count}
	t.next++
	return &Boot{Index: t.boots[id].index, ID: id}
}

// trackOf returns the message with what is new about a record's track and its fields; nil if
// nothing is.
func (t *announced) trackOf(r record.Record) *Track {
	name := valid(r.Track)
	track := t.tracks[r.Number]
	fresh := track == nil || track.name != name
	if fresh {
		if t.tracks == nil {
			t.tracks = map[uint32]*announcedTrack{}
		}
		t.count++
		track = &announcedTrack{name: name, number: t.count, fields: map[uint16]announcedField{}}
		t.tracks[r.Number] = track
	}
	m := &Track{Number: r.Number, Name: name}
	for _, f := range r.Fields {
		field := Field{ID: uint16(f.ID), Name: valid(f.Name), Unit: valid(f.Unit)}
		if had, known := track.fields[field.ID]; known && had.Field == field {
			continue
		}
		t.count++
		track.fields[field.ID] = announcedField{field, t.count}
		m.Fields = append(m.Fields, field)
	}
	if !fresh && len(m.Fields) == 0 {
		return nil
	}
	return m
}

// trackNumbers are the numbers of the tracks in a session: their own, unless two tracks have the
// same.
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
		number-- // from 2^32-1 downwards, if 0 is taken
	}
	n.byName[r.Track], n.taken[number] = number, true
	return number
}
