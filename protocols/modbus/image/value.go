package image

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"gatewayd/protocols/modbus/points"
)

// Change is a new state of a point.
type Change struct {
	Index int // of the point, as passed to New
	Value points.Value
	Good  bool // false: there is no good value at present
}

// Update applies all changes at one moment. A value that its point cannot hold counts as missing;
// the first such failure is the error.
func (m *Image) Update(changes []Change) error {
	var failed error
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		h := m.points[c.Index]
		if !c.Good {
			h.miss()
			continue
		}
		v, err := h.fit(c.Value)
		if err == nil {
			err = h.put(h.face, v)
		}
		if err != nil {
			h.miss()
			if failed == nil {
				failed = err
			}
			continue
		}
		h.ever, h.good = true, true
		h.open(true)
	}
	return failed
}

// Good reports whether a point has a good value.
func (m *Image) Good(index int) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.points[index].good
}

// miss sets what masters read from a point without a good value.
func (h *held) miss() {
	h.good = false
	switch h.Missing {
	case Sentinel:
		if h.put(h.blank, h.none) == nil {
			h.open(true)
			return
		}
	case Last:
		if h.ever {
			h.open(true)
			return
		}
	}
	h.open(false)
}

// open sets whether the point's addresses may be read.
func (h *held) open(yes bool) {
	if h.shut != yes {
		return
	}
	h.shut = !yes
	refuse := h.at.refuse[int(h.Address)-h.at.first:][:h.size()]
	for i := range refuse {
		if yes {
			refuse[i]--
		} else {
			refuse[i]++
		}
	}
}

// put writes a value, encoded by p, into the registers.
func (h *held) put(p points.Point, v points.Value) error {
	words := h.at.words[int(h.Address)-h.at.first:][:h.size()]
	if p.Partial() {
		and, or, err := p.Mask(v)
		if err == nil {
			words[0] = words[0]&and | or
		}
		return err
	}
	data, err := p.Encode(v)
	if err != nil {
		return err
	}
	if p.Bits() {
		words[0] = uint16(data[0] & 1)
		return nil
	}
	for i := range words {
		words[i] = binary.BigEndian.Uint16(data[2*i:])
	}
	return nil
}

// raws are the types used to write the raw bits of a type.
var raws = map[string]string{
	points.Int8: points.Uint8, points.Uint8: points.Uint8,
	points.Int16: points.Uint16, points.Uint16: points.Uint16, points.Float16: points.Uint16, points.BCD16: points.Uint16,
	points.Int32: points.Uint32, points.Uint32: points.Uint32, points.Float32: points.Uint32, points.BCD32: points.Uint32,
	points.Int64: points.Uint64, points.Uint64: points.Uint64, points.Float64: points.Uint64, points.BCD64: points.Uint64,
	points.Unix32: points.Uint32, points.Unix64: points.Uint64, points.CP56: points.Uint64,
}

// fit converts a value to the kind that the point's type takes: flags become 0 and 1, numbers other
// than 0 become true, and without a scale a fraction is rounded.
func (h *held) fit(v points.Value) (points.Value, error) {
	flag, isFlag := v.Bool()
	number, isNumber := v.Float64()
	switch {
	case h.Type == points.Bool && isNumber:
		return points.Flag(number != 0), nil
	case h.Type == points.String || h.Type == points.Bool || points.IsTime(h.Type):
		return v, nil
	case isFlag && flag:
		return points.Integer(1), nil
	case isFlag:
		return points.Integer(0), nil
	case !isNumber:
		return v, fmt.Errorf("point %q: %q is not a number", h.Name, v)
	case v.Kind() == points.NumberKind && h.whole():
		return points.Number(math.Round(number)), nil
	}
	return v, nil
}

// whole reports whether the point holds unscaled integers.
func (h *held) whole() bool {
	switch h.Type {
	case points.Float16, points.Float32, points.Float64:
		return false
	}
	return (h.Scale == 0 || h.Scale == 1) && h.Offset == 0
}

// Usual returns the raw bits that mean "no value" unless something else is agreed: the most
// negative signed integer, the largest unsigned one, NaN, invalid BCD digits (as in SunSpec), or
// all ones, which is not a valid time; for types without such a value, false or empty text.
func Usual(form string) uint64 {
	switch form {
	case points.Int8:
		return 0x80
	case points.Int16:
		return 0x8000
	case points.Int32:
		return 0x8000_0000
	case points.Int64:
		return 0x8000_0000_0000_0000
	case points.Uint8:
		return 0xff
	case points.Uint16, points.BCD16:
		return 0xffff
	case points.Uint32, points.BCD32, points.Unix32:
		return 0xffff_ffff
	case points.Uint64, points.BCD64, points.Unix64, points.CP56:
		return math.MaxUint64
	case points.Float16:
		return 0x7e00
	case points.Float32:
		return 0x7fc0_0000
	case points.Float64:
		return 0x7ff8_0000_0000_0000
	}
	return 0
}

// check returns what is wrong with a point.
func (h *held) check() error {
	if err := h.Point.Check(); err != nil {
		return err
	}
	if h.Type == points.Bytes {
		return fmt.Errorf("point %q: values of type bytes are not available on the bus", h.Name)
	}
	if h.Writable && !h.Point.Point.Writable() {
		return fmt.Errorf("point %q: area %s cannot be written by masters", h.Name, h.Area)
	}
	h.face = h.Point.Point
	h.face.Area = points.Holding // so that everything can be encoded
	if h.Bits() {
		h.face.Area = points.Coil
	}
	return h.empty()
}

// empty prepares the encoding of the sentinel, as raw bits.
func (h *held) empty() error {
	raw := Usual(h.Type)
	if h.Sentinel != nil {
		raw = *h.Sentinel
	}
	h.blank = h.face
	switch h.Type {
	case points.Bool:
		h.none = points.Flag(raw != 0)
		return nil
	case points.String:
		h.none = points.Text("")
		return nil
	case points.BCDTime, points.Fields: // longer than any number; all ones in any byte order
		h.blank.Type, h.blank.Order, h.blank.Length = points.Bytes, "", h.Registers()
		h.none = points.Raw(bytes.Repeat([]byte{0xff}, 2*h.Registers()))
		if h.Sentinel != nil {
			return fmt.Errorf("point %q: a sentinel must be a number, but type %s has %d registers: leave sentinel out, then all their bits are ones", h.Name, h.Type, h.Registers())
		}
		return nil
	}
	h.none = points.Unsigned(raw)
	h.blank.Type, h.blank.Scale, h.blank.Offset, h.blank.Finish = raws[h.Type], 0, 0, nil
	var err error
	if h.blank.Partial() {
		_, _, err = h.blank.Mask(h.none)
	} else {
		_, err = h.blank.Encode(h.none)
	}
	if err != nil {
		return fmt.Errorf("sentinel of %s: %w", h.Type, err)
	}
	return nil
}

// own returns the bits of its register that belong to a partial point.
func (h *held) own() uint16 {
	and, _, err := h.blank.Mask(h.none)
	if err != nil {
		return 0xffff
	}
	return ^and
}
