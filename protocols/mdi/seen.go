package mdi

import (
	"slices"
	"sort"
	"time"

	"gatewayd/protocols/record"
)

// sequences is a set of them, as ranges in rising order.
type sequences struct{ parts []span }

type span struct{ first, last uint64 }

// mostParts is how many ranges a set keeps. Of more, the lowest are forgotten: a record of them that came again would be taken again,
// which is better than one that never came and is thought to have.
const mostParts = 1024

// at is the first range that ends at n or later.
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
	if len(s.parts) > mostParts {
		s.parts = slices.Delete(s.parts, 0, len(s.parts)-mostParts)
	}
}

// within is what of first..last is in the set.
func (s *sequences) within(first, last uint64) []span {
	var all []span
	for i := s.at(first); i < len(s.parts) && s.parts[i].first <= last; i++ {
		all = append(all, span{max(first, s.parts[i].first), min(last, s.parts[i].last)})
	}
	return all
}

// seenTrack is what has been taken of one track, whatever session it came in.
type seenTrack struct{ boots []*seenBoot } // the last one is the newest

// seenBoot is what of it was recorded in one boot. Sequences run on over boots, but begin again if a gateway's store is replaced.
type seenBoot struct {
	id     string
	taken  sequences
	top    uint64 // the highest of them
	uptime time.Duration
}

const (
	mostBoots = 8
	// slack is how far uptimes of one boot may disagree: they are rounded on their way.
	slack = 10 * time.Millisecond
)

// knows says whether a record has been taken already, and whether its track has begun to count again: a record that is no newer by its
// sequence, and younger by its uptime, is not the one that had this number before.
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

// note remembers a record that has been taken.
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
	t.boots = t.boots[max(0, len(t.boots)-mostBoots):]
	return b
}
