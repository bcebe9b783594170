package points

import "fmt"

// Result is what a read returned for one point.
type Result struct {
	Index int // in the slice that was planned
	Value Value
	Err   error // nil, ErrNoValue with the reason, or why the data cannot be that of the point
}

// Extract extracts each point's value from the answer to a read. data is what follows the answer's
// byte count: two bytes per register, or bits packed from the lowest bit up. If the length is
// wrong, no value is returned, because the registers cannot be identified then.
func Extract(read Read, points []Point, data []byte) (Extraction, error) {
	want := 2 * int(read.Quantity)
	bits := read.Area == Coil || read.Area == DiscreteInput
	if bits {
		want = (int(read.Quantity) + 7) / 8
	}
	if len(data) != want {
		return Extraction{}, fmt.Errorf("read %s %d+%d: got %d bytes instead of %d", read.Area, read.Address, read.Quantity, len(data), want)
	}
	return Extraction{read.Points, points, data}, nil
}

// Extraction is an answer together with the points in it.
type Extraction struct {
	refs   []Ref
	points []Point
	data   []byte
}

// All iterates over the Result of each point.
func (x Extraction) All(yield func(Result) bool) {
	for _, ref := range x.refs {
		v, err := x.points[ref.Index].take(x.data, ref.Offset)
		if !yield(Result{ref.Index, v, err}) {
			return
		}
	}
}

// take decodes the part of data that belongs to the point.
func (p *Point) take(data []byte, offset int) (Value, error) {
	var bit [1]byte
	return p.named(p.decode(p.piece(data, offset, bit[:])))
}

// piece returns the bytes that Decode expects; for a single bit it uses the buffer bit. It returns
// nil if the read does not contain the point.
func (p *Point) piece(data []byte, offset int, bit []byte) []byte {
	if p.bits() {
		if offset < 0 || offset/8 >= len(data) {
			return nil
		}
		bit[0] = data[offset/8] >> (offset % 8) & 1
		return bit
	}
	size := p.size()
	if offset < 0 || offset > len(data)/2 || 2*offset+size > len(data) {
		return nil
	}
	return data[2*offset : 2*offset+size]
}
