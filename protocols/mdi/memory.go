package mdi

import (
	"maps"
	"slices"
	"time"

	"gatewayd/protocols/record"
)

// Seen is a range of consecutive records of one boot in a track of a gateway that a receiver has
// accepted.
type Seen struct {
	Gateway string        `json:"gateway"`
	Track   string        `json:"track"`
	Boot    string        `json:"boot,omitempty"`
	First   uint64        `json:"first"`
	Last    uint64        `json:"last"`
	Uptime  time.Duration `json:"uptime,omitempty"` // of the last one
	// Again means that the track starts counting again with these records: what was accepted of the
	// boot before is forgotten.
	Again bool `json:"again,omitempty"`
}

// seenToo adds a record to what has been accepted.
func seenToo(all []Seen, gateway string, r record.Record, again bool) []Seen {
	if n := len(all) - 1; n >= 0 && !again {
		if last := &all[n]; last.Track == r.Track && last.Boot == r.Boot && last.Last+1 == r.Sequence {
			last.Last, last.Uptime = r.Sequence, r.Uptime
			return all
		}
	}
	return append(all, Seen{Gateway: gateway, Track: r.Track, Boot: r.Boot, First: r.Sequence, Last: r.Sequence, Uptime: r.Uptime, Again: again})
}

// Seen returns everything that is remembered of accepted records.
func (r *Receiver) Seen() (all []Seen) {
	for _, name := range slices.Sorted(maps.Keys(r.gateways)) {
		g := r.gateways[name]
		for _, track := range slices.Sorted(maps.Keys(g.seen)) {
			for _, b := range g.seen[track].boots {
				for _, s := range b.taken.parts {
					all = append(all, Seen{Gateway: name, Track: track, Boot: b.id, First: s.first, Last: s.last, Uptime: b.uptime})
				}
			}
		}
	}
	return all
}

// Recall restores what a former life has accepted, in the original order. The receiver must not
// have served any gateway yet.
func (r *Receiver) Recall(all []Seen) {
	for _, s := range all {
		g := r.gateways[s.Gateway]
		if g == nil {
			g = &gateway{seen: map[string]*seenTrack{}}
			r.gateways[s.Gateway] = g
		}
		b := g.boot(record.Record{Track: s.Track, Boot: s.Boot}, true)
		if s.Again {
			b.taken, b.top = sequences{}, 0
		}
		b.taken.put(s.First, s.Last)
		if s.Last >= b.top {
			b.top, b.uptime = s.Last, s.Uptime
		}
	}
}

// put adds all numbers from first to last.
func (s *sequences) put(first, last uint64) {
	i := s.at(first)
	if i > 0 && s.parts[i-1].last+1 == first {
		i--
	}
	j := i
	for ; j < len(s.parts) && s.parts[j].first <= last+1; j++ {
		first, last = min(first, s.parts[j].first), max(last, s.parts[j].last)
	}
	s.parts = slices.Replace(s.parts, i, j, span{first, last})
	if len(s.parts) > maxParts {
		s.parts = slices.Delete(s.parts, 0, len(s.parts)-maxParts)
	}
}
