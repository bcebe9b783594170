package mdi

import (
	"slices"
	"sort"
	"time"

	"gatewayd/protocols/record"
)

// sequences is a set of sequences, as ascending ranges.
type sequences struct{ parts []span }

type span struct{ first, last uint64 }

// maxParts is the number of ranges in a set. Beyond that the lowest are forgotten. If their
// records came again they would be accepted again, which is better than taking a record for a
// duplicate that never arrived.
const maxParts = 1024

// at returns the first range that ends at n or later.
func (s *sequences) at(n uint64) int {
	return sort.Search(len(s.parts), func(i int) bool { return s.parts[i].last >= n })
}

func (s *sequences) has(n uint64) bool {
	i := s.at(n)
	return i < len(s.parts) && s.parts[i].first <= n
}

func (s *sequences) add(n uint64) {
	if s.has(n) {
		return
	}
	i := s.at(n) // all before it end before n
	before := i > 0 && s.parts[i-1].last+1 == n
	after := i < len(s.parts) && s.parts[i].first == n+1
	switch {
	case before && after:
		s.parts[i-1].last = s.parts[i].last
		s.parts = slices.Delete(s.parts, i, i+1)
	case before:
		s.parts[i-1].last = n
	case after:
		s.parts[i].first = n
	default:
		s.parts = slices.Insert(s.parts, i, span{n, n})
	}
	if len(s.parts) > maxParts {
		s.parts = slices.Delete(s.parts, 0, len(s.parts)-maxParts)
	}
}

// within returns the parts of first..last that are in the set.
func (s *sequences) within(first, last uint64) []span {
	var all []span
	for i := s.at(first); i < len(s.parts) && s.parts[i].first <= last; i++ {
		all = append(all, span{max(first, s.parts[i].first), min(last, s.parts[i].last)})
	}
	return all
}

// seenTrack is what has been accepted of one track, in whatever session.
type seenTrack struct{ boots []*seenBoot } // the last one is the newest

// seenBoot is the part recorded in one boot. Sequences continue across boots, but start again if a
// gateway's store is replaced.
type seenBoot struct {
	id     string
	taken  sequences
	top    uint64 // the highest sequence
	uptime time.Duration
}

const (
	maxBoots = 8
	// slack is how much uptimes of one boot may deviate: they are rounded in transit.
	slack = 10 * time.Millisecond
)

// knows reports whether a record has been accepted already, and whether its track has started
// counting again: a record with a sequence that is not newer, but with a later uptime, is not the
// one that had this number before.
func (g *gateway) knows(r record.Record) (known, again bool) {
	b := g.boot(r, false)
	if b == nil {
		return false, false
	}
	if r.Sequence <= b.top && r.Uptime > b.uptime+slack {
		b.taken, b.top = sequences{}, 0
		return false, true
	}
	return b.taken.has(r.Sequence), false
}

// note remembers an accepted record.
func (g *gateway) note(r record.Record) {
	b := g.boot(r, true)
	b.taken.add(r.Sequence)
	if r.Sequence >= b.top {
		b.top, b.uptime = r.Sequence, r.Uptime
	}
}

func (g *gateway) boot(r record.Record, create bool) *seenBoot {
	t := g.seen[r.Track]
	if t == nil && create {
		t = &seenTrack{}
		g.seen[r.Track] = t
	}
	if t == nil {
		return nil
	}
	if i := slices.IndexFunc(t.boots, func(b *seenBoot) bool { return b.id == r.Boot }); i >= 0 {
		return t.boots[i]
	}
	if !create {
		return nil
	}
	b := &seenBoot{id: r.Boot}
	t.boots = append(t.boots, b)
	t.boots = t.boots[max(0, len(t.boots)-maxBoots):]
	return b
}
