package points

import "fmt"

// Result is what a read gave for one point.
type Result struct {
	Index int // in the slice that was planned
	Value Value
	Err   error // nil, ErrNoValue with the reason, or why the data cannot be this point's
}

// Extract takes each point's value out of the answer to a read. Data is what follows the answer's byte count: two bytes per
// register, or bits packed from the lowest bit up. A wrong length is an error and gives no value at all, for then
// nothing says which register is which.
func Extract(read Read, points []Point, data []byte) ([]Result, error) {
	want := 2 * int(read.Quantity)
	bits := read.Area == Coil || read.Area == DiscreteInput
	if bits {
		want = (int(read.Quantity) + 7) / 8
	}
	if len(data) != want {
		return nil, fmt.Errorf("read %s %d+%d: %d bytes arrived instead of %d", read.Area, read.Address, read.Quantity, len(data), want)
	}
	results := make([]Result, len(read.Points))
	for i, ref := range read.Points {
		results[i].Index = ref.Index
		p := points[ref.Index]
		results[i].Value, results[i].Err = p.Decode(piece(data, p, ref.Offset))
	}
	return results, nil
}

// piece returns the bytes Decode expects; nothing when the read does not hold the point.
func piece(data []byte, p Point, offset int) []byte {
	if p.Bits() {
		if offset < 0 || offset/8 >= len(data) {
			return nil
		}
		return []byte{data[offset/8] >> (offset % 8) & 1}
	}
	if offset < 0 || offset > len(data)/2 || 2*offset+p.size() > len(data) {
		return nil
	}
	return data[2*offset : 2*offset+p.size()]
}
