package sim

import (
	"slices"
	"sort"
)

// bank is one table of a device: ranges of existing addresses, with holes between them.
type bank struct{ spans []span }

type span struct {
	first  int
	values []uint16
	live   func(address uint16) uint16 // used instead of values
	n      int
}

func (s span) end() int { return s.first + s.n }

// put creates the addresses from first on with these values, and replaces existing ones.
func (b *bank) put(first int, values []uint16) {
	if s := b.at(first); s != nil && s.live == nil && first+len(values) <= s.end() {
		copy(s.values[first-s.first:], values)
		return
	}
	b.cut(first, first+len(values))
	b.insert(span{first: first, values: slices.Clone(values), n: len(values)})
}

func (b *bank) follow(first, n int, f func(uint16) uint16) {
	b.cut(first, first+n)
	b.insert(span{first: first, n: n, live: f})
}

func (b *bank) insert(s span) {
	i := sort.Search(len(b.spans), func(i int) bool { return b.spans[i].first > s.first })
	b.spans = slices.Insert(b.spans, i, s)
}

// cut removes the addresses first..end-1.
func (b *bank) cut(first, end int) {
	var out []span
	for _, s := range b.spans {
		if left := s.part(s.first, min(first, s.end())); left.n > 0 {
			out = append(out, left)
		}
		if right := s.part(max(end, s.first), s.end()); right.n > 0 {
			out = append(out, right)
		}
	}
	b.spans = out
}

func (s span) part(first, end int) span {
	if end <= first {
		return span{}
	}
	p := span{first: first, n: end - first, live: s.live}
	if s.live == nil {
		p.values = s.values[first-s.first : end-s.first : end-s.first]
	}
	return p
}

func (b *bank) at(address int) *span {
	i := sort.Search(len(b.spans), func(i int) bool { return b.spans[i].end() > address })
	if i == len(b.spans) || b.spans[i].first > address {
		return nil
	}
	return &b.spans[i]
}

// each calls f for n addresses from first on, in order. At a hole it stops and returns false.
func (b *bank) each(first, n int, f func(i int, s *span)) bool {
	for done := 0; done < n; {
		s := b.at(first + done)
		if s == nil {
			return false
		}
		for ; done < n && first+done < s.end(); done++ {
			f(done, s)
		}
	}
	return true
}

func (b *bank) get(first, n int) ([]uint16, bool) {
	out := make([]uint16, n)
	ok := b.each(first, n, func(i int, s *span) {
		if s.live != nil {
			out[i] = s.live(uint16(first + i))
			return
		}
		out[i] = s.values[first+i-s.first]
	})
	return out, ok
}

// set changes existing values; writes to live ones are ignored. If there is a hole, nothing is
// changed.
func (b *bank) set(first int, values []uint16) bool {
	if !b.each(first, len(values), func(int, *span) {}) {
		return false
	}
	return b.each(first, len(values), func(i int, s *span) {
		if s.live == nil {
			s.values[first+i-s.first] = values[i]
		}
	})
}
