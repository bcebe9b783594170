package mdi

import (
	"cmp"
	"slices"

	"gatewayd/protocols/record"
)

// recordID identifies a record in a session.
type recordID struct {
	track    uint32
	sequence uint64
}

func idOf(r record.Record) recordID { return recordID{r.Number, r.Sequence} }

// rangesOf returns a set of records as the fewest possible ranges.
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

// within reports whether a record is in one of the ranges.
func within(all []Range, id recordID) bool {
	return slices.ContainsFunc(all, func(r Range) bool {
		return r.Track == id.track && id.sequence >= r.First && id.sequence-r.First <= uint64(r.More)
	})
}
