// Package image holds the registers of a Modbus server whose values come from elsewhere. Values are
// set by point and read by register, encoded with the points' types and byte orders; what a master
// writes is converted to values of points. The package does no I/O, has no clock and is safe for
// concurrent use.
package image

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
)

// Missing says what masters read from a point without a good value.
type Missing uint8

const (
	// Refuse answers a read that includes the point with exception 4.
	Refuse Missing = iota
	// Last returns the last good value; if there never was one, it acts as Refuse.
	Last
	// Sentinel returns the point's sentinel.
	Sentinel
)

// Point is a value and the address at which masters find it.
type Point struct {
	points.Point
	Unit     uint8
	Writable bool // masters may write it; only in area Coil or Holding
	Missing  Missing
	// Sentinel is the raw bits, in big-endian order, that mean "no value" to the master; nil: the
	// usual ones for the type, see Usual.
	Sentinel *uint64
}

// Fill is a range of registers or bits that belong to no point and read as zero.
type Fill struct {
	Unit           uint8
	Area           string
	Address, Count int
}

// Image holds the points of all units. It is safe for concurrent use.
type Image struct {
	points []*held
	tables map[key]*table
	units  [256]bool

	mu sync.RWMutex // guards the contents of segments and held points
}

type key struct {
	unit uint8
	area string
}

// table is one area of a unit.
type table struct {
	segments []*segment
	points   []*held // in the order of their addresses
}

// segment is a range of addresses without gaps.
type segment struct {
	first  int
	words  []uint16 // registers, or bits as 0 and 1
	refuse []uint8  // number of points that make reads of the address fail
}

// held is a point and its state.
type held struct {
	Point
	index int
	at    *segment
	ever  bool // it had a value
	good  bool // it has one now
	shut  bool // it makes reads of its addresses fail

	face  points.Point // encodes values
	blank points.Point // encodes the sentinel
	none  points.Value // the sentinel
}

func (h *held) size() int {
	if h.Bits() {
		return 1
	}
	return h.Registers()
}

func (h *held) end() int { return int(h.Address) + h.size() }

// New returns an image of points that have no value yet. It fails if two points use the same bits.
func New(all []Point, fills []Fill) (*Image, error) {
	m := &Image{tables: map[key]*table{}}
	for i, p := range all {
		h := &held{Point: p, index: i}
		if err := h.check(); err != nil {
			return nil, err
		}
		m.points = append(m.points, h)
		t := m.table(p.Unit, p.Area)
		t.points = append(t.points, h)
	}
	for _, f := range fills {
		if f.Count < 1 || f.Address < 0 || f.Address+f.Count > 1<<16 {
			return nil, fmt.Errorf("fill %s %d+%d ends beyond address 65535", f.Area, f.Address, f.Count)
		}
		m.table(f.Unit, f.Area)
	}
	for k, t := range m.tables {
		if err := t.lay(k, fills); err != nil {
			return nil, err
		}
	}
	for _, h := range m.points {
		h.miss()
	}
	return m, nil
}

func (m *Image) table(unit uint8, area string) *table {
	k := key{unit, area}
	t := m.tables[k]
	if t == nil {
		t = &table{}
		m.tables[k], m.units[unit] = t, true
	}
	return t
}

// lay creates the segments.
func (t *table) lay(k key, fills []Fill) error {
	slices.SortStableFunc(t.points, func(a, b *held) int { return int(a.Address) - int(b.Address) })
	type span struct{ first, end int }
	var spans []span
	for i, h := range t.points {
		spans = append(spans, span{int(h.Address), h.end()})
		for _, next := range t.points[i+1:] {
			if int(next.Address) >= h.end() {
				break
			}
			if h.collides(next) {
				return fmt.Errorf("points %q and %q of unit %d overlap at %s %d", h.Name, next.Name, k.unit, k.area, next.Address)
			}
		}
	}
	for _, f := range fills {
		if (key{f.Unit, f.Area}) == k {
			spans = append(spans, span{f.Address, f.Address + f.Count})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return a.first - b.first })
	for i := 0; i < len(spans); {
		first, end := spans[i].first, spans[i].end
		for i++; i < len(spans) && spans[i].first <= end; i++ {
			end = max(end, spans[i].end)
		}
		t.segments = append(t.segments, &segment{first: first, words: make([]uint16, end-first), refuse: make([]uint8, end-first)})
	}
	for _, h := range t.points {
		h.at = t.segment(int(h.Address), h.size())
	}
	return nil
}

// collides reports whether two points that share an address use the same bits of it.
func (h *held) collides(o *held) bool {
	if !h.Partial() || !o.Partial() {
		return true
	}
	return h.own()&o.own() != 0
}

// segment returns the segment that contains the n addresses from first on, or nil.
func (t *table) segment(first, n int) *segment {
	if t == nil {
		return nil
	}
	i := sort.Search(len(t.segments), func(i int) bool { return t.segments[i].first > first }) - 1
	if i < 0 || first+n > t.segments[i].first+len(t.segments[i].words) {
		return nil
	}
	return t.segments[i]
}

// Has reports whether the image contains anything of a unit.
func (m *Image) Has(unit uint8) bool { return m.units[unit] }

// Units returns the units in the image, in ascending order.
func (m *Image) Units() []uint8 {
	var all []uint8
	for unit, shown := range m.units {
		if shown {
			all = append(all, uint8(unit))
		}
	}
	return all
}

// areaOf returns the area that a function reads or writes.
func areaOf(function uint8) string {
	switch function {
	case modbus.ReadCoils, modbus.WriteSingleCoil, modbus.WriteMultipleCoils:
		return points.Coil
	case modbus.ReadDiscreteInputs:
		return points.DiscreteInput
	case modbus.ReadInputRegisters:
		return points.Input
	}
	return points.Holding
}

// Read appends the answer to a request of function 1 to 4, or to the reading part of 23, beginning
// with the byte count. All values are from the same moment. code is the exception to answer
// instead; 0: none.
func (m *Image) Read(dst []byte, r modbus.Request) (data []byte, code uint8) {
	q := int(r.Quantity)
	s := m.tables[key{r.Unit, areaOf(r.Function)}].segment(int(r.Address), q)
	if s == nil {
		return dst, modbus.IllegalAddress
	}
	from := int(r.Address) - s.first
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, n := range s.refuse[from : from+q] {
		if n > 0 {
			return dst, modbus.DeviceFailure
		}
	}
	words := s.words[from : from+q]
	if r.Function <= modbus.ReadDiscreteInputs {
		return appendBits(dst, words), 0
	}
	dst = append(dst, byte(2*q))
	for _, w := range words {
		dst = binary.BigEndian.AppendUint16(dst, w)
	}
	return dst, 0
}

func appendBits(dst []byte, words []uint16) []byte {
	n := (len(words) + 7) / 8
	dst = append(dst, byte(n))
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	for i, w := range words {
		dst[at+i/8] |= byte(w) << (i % 8)
	}
	return dst
}
