package points

import (
	"cmp"
	"fmt"
	"slices"
)

// Range is a range of addresses in one area, both ends included.
type Range struct {
	Area        string
	First, Last uint16
}

// Limits are the limits of a unit for reads.
type Limits struct {
	MaxRegisters int     // per read, 1 to 125; 0 means 125
	MaxBits      int     // per read, 1 to 2000; 0 means 2000
	Gap          int     // the longest run of registers or bits without a point that a read may span; 0: none
	Holes        []Range // addresses that cause an exception or a hang: never part of a read
	// OnePerPoint means one request for each point, for units that answer nothing else; points with the same
	// registers share it
	OnePerPoint bool
	FromZero    bool // reads of bits always start at address 0, for units that misplace them otherwise
}

// Check returns what is wrong with the limits.
func (l Limits) Check() error {
	switch {
	case l.MaxRegisters < 0 || l.MaxRegisters > MaxRegisters:
		return fmt.Errorf("max registers %d is outside 1 to %d", l.MaxRegisters, MaxRegisters)
	case l.MaxBits < 0 || l.MaxBits > MaxBits:
		return fmt.Errorf("max bits %d is outside 1 to %d", l.MaxBits, MaxBits)
	case l.Gap < 0:
		return fmt.Errorf("gap %d is negative", l.Gap)
	}
	for _, h := range l.Holes {
		if err := checkArea(Point{Area: h.Area, Type: Bool}); err != nil {
			return fmt.Errorf("hole %d to %d: %w", h.First, h.Last, err)
		}
		if h.Last < h.First {
			return fmt.Errorf("hole %d to %d of area %s ends before it starts", h.First, h.Last, h.Area)
		}
	}
	return nil
}

func (l Limits) most(area string) int {
	bits := area == Coil || area == DiscreteInput
	switch {
	case bits && l.MaxBits > 0:
		return l.MaxBits
	case bits:
		return MaxBits
	case l.MaxRegisters > 0:
		return l.MaxRegisters
	}
	return MaxRegisters
}

// hole returns a hole that overlaps first..last of the area.
func (l Limits) hole(area string, first, last int) (Range, bool) {
	for _, h := range l.Holes {
		if h.Area == area && int(h.First) <= last && int(h.Last) >= first {
			return h, true
		}
	}
	return Range{}, false
}

// Read is one request: Quantity registers or bits from Address, and the points contained in the
// answer.
type Read struct {
	Area     string
	Address  uint16
	Quantity uint16
	Points   []Ref // in the order of their addresses
}

// Ref is a point in a read.
type Ref struct {
	Index  int // in the slice that was planned
	Offset int // in registers or bits from the address of the read
}

// Equal reports whether both read the same addresses for the same points.
func (r Read) Equal(o Read) bool {
	return r.Area == o.Area && r.Address == o.Address && r.Quantity == o.Quantity && slices.Equal(r.Points, o.Points)
}

// Holds reports whether o is part of r, for reads that cover every point once.
func (r Read) Holds(o Read) bool {
	return slices.ContainsFunc(r.Points, func(p Ref) bool { return p.Index == o.Points[0].Index })
}

// Plan covers every point exactly once with the fewest reads the limits allow and, among such
// plans, with the fewest registers and bits. A point is never split. The plan depends only on the
// arguments. An error names the point that no read can include: it fails its Check, overlaps a hole
// or is longer than a read may be.
func Plan(points []Point, limits Limits) ([]Read, error) {
	if err := limits.Check(); err != nil {
		return nil, err
	}
	spans, err := measure(points, limits)
	if err != nil {
		return nil, err
	}
	var reads []Read
	for len(spans) > 0 {
		n := slices.IndexFunc(spans, func(s span) bool { return s.area != spans[0].area })
		if n < 0 {
			n = len(spans)
		}
		reads = append(reads, limits.cover(spans[:n])...)
		spans = spans[n:]
	}
	return reads, nil
}

// span is the range of addresses of a point, from first up to, but not including, end.
type span struct {
	area       string
	index      int
	at         int // the point's own address
	first, end int
}

// measure returns the spans of the points, ordered by area, address, end and index.
func measure(points []Point, limits Limits) ([]span, error) {
	spans := make([]span, len(points))
	for i, p := range points {
		if err := p.Check(); err != nil {
			return nil, err
		}
		s := span{area: p.Area, index: i, at: int(p.Address), first: int(p.Address), end: int(p.Address) + p.span()}
		if limits.FromZero && p.Bits() {
			s.first = 0
		}
		if h, ok := limits.hole(s.area, s.first, s.end-1); ok {
			return nil, fmt.Errorf("point %q: its addresses %s %d to %d overlap the hole %d to %d",
				p.Name, s.area, s.first, s.end-1, h.First, h.Last)
		}
		if most := limits.most(s.area); s.end-s.first > most {
			return nil, fmt.Errorf("point %q: its addresses %s %d to %d are %d, but one read is limited to %d",
				p.Name, s.area, s.first, s.end-1, s.end-s.first, most)
		}
		spans[i] = s
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.area, b.area), cmp.Compare(a.at, b.at), cmp.Compare(a.end, b.end), cmp.Compare(a.index, b.index))
	})
	return spans, nil
}

// cost orders plans: fewer reads first, then fewer registers or bits.
type cost struct{ reads, load int }

func (c cost) less(d cost) bool { return c.reads < d.reads || c.reads == d.reads && c.load < d.load }

// cover divides the spans of one area into reads. It suffices to consider runs of spans in address
// order: a span that starts within a read and ends beyond it starts a new read with all that
// follow.
func (l Limits) cover(spans []span) []Read {
	best := make([]cost, len(spans)+1)
	next := make([]int, len(spans))
	for i := len(spans) - 1; i >= 0; i-- {
		end := spans[i].end
		for j := i; j < len(spans) && (j == i || l.joins(spans[i], end, spans[j])); j++ {
			end = max(end, spans[j].end)
			c := cost{best[j+1].reads + 1, best[j+1].load + end - spans[i].first}
			if next[i] == 0 || c.less(best[i]) {
				best[i], next[i] = c, j+1
			}
		}
	}
	var reads []Read
	for i := 0; i < len(spans); i = next[i] {
		reads = append(reads, gather(spans[i:next[i]]))
	}
	return reads
}

// joins reports whether a read that starts with from and ends at end may be extended to include s.
func (l Limits) joins(from span, end int, s span) bool {
	if l.OnePerPoint {
		return s.at == from.at && s.end == end
	}
	if max(end, s.end)-from.first > l.most(s.area) || s.first-end > l.Gap {
		return false
	}
	_, hole := l.hole(s.area, from.first, max(end, s.end)-1)
	return !hole
}

func gather(spans []span) Read {
	r := Read{Area: spans[0].area, Address: uint16(spans[0].first)}
	end := 0
	for _, s := range spans {
		end = max(end, s.end)
		r.Points = append(r.Points, Ref{Index: s.index, Offset: s.at - spans[0].first})
	}
	r.Quantity = uint16(end - spans[0].first)
	return r
}

// Halves splits a read that the unit refused (exception 2 or 3) between two of its points, at the
// widest gap, and among equal ones at the gap nearest the middle. A caller can thus find by
// bisection what the unit cannot read. ok is false if all its points overlap.
func (r Read) Halves(points []Point) (left, right Read, ok bool) {
	spans := make([]span, len(r.Points))
	for i, ref := range r.Points {
		at := int(r.Address) + ref.Offset
		spans[i] = span{area: r.Area, index: ref.Index, at: at, first: at, end: at + points[ref.Index].span()}
	}
	cut, widest, end := 0, -1, 0
	for i := 1; i < len(spans); i++ {
		end = max(end, spans[i-1].end)
		gap := spans[i].at - end
		if gap > widest || gap == widest && abs(2*i-len(spans)) < abs(2*cut-len(spans)) {
			cut, widest = i, gap
		}
	}
	if cut == 0 {
		return Read{}, Read{}, false
	}
	return gather(spans[:cut]), gather(spans[cut:]), true
}

func abs(n int) int { return max(n, -n) }
