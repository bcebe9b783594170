package mdi

import (
	"slices"

	"gatewayd/protocols/record"
)

// fieldNumbers assigns numbers to the fields of tracks in a session: their own numbers if these are
// small, and otherwise the highest free ones, as for fields selected by a wildcard. The receiver is
// told the name of each.
type fieldNumbers struct{ tracks map[string]*columns }

type columns struct {
	given map[ownField]uint32
	taken map[uint32]bool
}

type ownField struct {
	id   uint32
	name string
}

// of returns the fields of a record with the numbers that are sent. The record is not modified.
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
	if f.ID > maxFieldID {
		key.name = f.Name // different names may hash to the same number
	}
	number, known := t.given[key]
	if known {
		return number
	}
	if number = f.ID; number > maxFieldID || t.taken[number] {
		for number = maxFieldID; t.taken[number]; number-- {
			if number == 0 {
				return f.ID // no number is free
			}
		}
	}
	t.given[key], t.taken[number] = number, true
	return number
}
