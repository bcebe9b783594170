package mdi

import (
	"slices"

	"gatewayd/protocols/record"
)

// fieldNumbers are those of the fields of tracks in a session: their own where these are small, and the highest that are free for others, such
// as of fields that a wildcard picks. The receiver is told which name each has.
type fieldNumbers struct{ tracks map[string]*columns }

type columns struct {
	given map[ownField]uint32
	taken map[uint32]bool
}

type ownField struct {
	id   uint32
	name string
}

// of are the fields of a record with the numbers that they are sent with. The record's own are left as they are.
func (n *fieldNumbers) of(r record.Record) []record.Field {
	fields := r.Fields
	for i, f := range r.Fields {
		number := n.number(r.Track, f)
		if number == f.ID {
			continue
		}
		if &fields[0] == &r.Fields[0] {
			fields = slices.Clone(fields)
		}
		fields[i].ID = number
	}
	return fields
}

func (n *fieldNumbers) number(track string, f record.Field) uint32 {
	t := n.tracks[track]
	if t == nil {
		if n.tracks == nil {
			n.tracks = map[string]*columns{}
		}
		t = &columns{map[ownField]uint32{}, map[uint32]bool{}}
		n.tracks[track] = t
	}
	key := ownField{id: f.ID}
	if f.ID > mostFieldID {
		key.name = f.Name // two may have one number, which was made of their names
	}
	number, known := t.given[key]
	if known {
		return number
	}
	if number = f.ID; number > mostFieldID || t.taken[number] {
		for number = mostFieldID; t.taken[number]; number-- {
			if number == 0 {
				return f.ID // there are no more
			}
		}
	}
	t.given[key], t.taken[number] = number, true
	return number
}
