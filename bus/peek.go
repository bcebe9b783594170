package bus

import (
	"cmp"
	"context"
	"math"
	"slices"
)

// End returns the sequence of the newest message of all tracks.
func (r *Reader) End(ctx context.Context) (uint64, error) {
	s, err := r.conn.commit.bus.js.Stream(ctx, streamTracks)
	if err != nil {
		return 0, r.failed("find the end of", r.conn.reason(ctx, err))
	}
	return s.CachedInfo().State.LastSeq, nil
}

// Peek returns up to most messages of the reader's tracks from sequence from on, oldest first,
// regardless of the reader's position. It does not wait for messages.
func (r *Reader) Peek(ctx context.Context, from uint64, most int) (all []Stored, err error) {
	until := uint64(math.MaxUint64) // beyond this sequence the result is incomplete for some pattern
	for _, pattern := range r.patterns {
		n, last := 0, uint64(0)
		more, err := r.conn.fetch(ctx, r.conn.keep, streamTracks, directGet{Seq: max(from, 1), NextFor: pattern, Batch: min(most, page), MaxBytes: pageBytes}, func(m Record) error {
			n, last = n+1, m.Seq
			all = append(all, stored(m))
			return nil
		})
		if err != nil {
			return nil, r.failed("look into", err)
		}
		if more {
			until = min(until, last)
		}
	}
	slices.SortFunc(all, func(a, b Stored) int { return cmp.Compare(a.Seq, b.Seq) })
	all = slices.CompactFunc(all, func(a, b Stored) bool { return a.Seq == b.Seq })
	all = slices.DeleteFunc(all, func(s Stored) bool { return s.Seq > until })
	return all[:min(len(all), most)], nil
}
