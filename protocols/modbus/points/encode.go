package points

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// ErrPartial is Encode's answer for a point that shares its register: Mask and Merge write it.
var ErrPartial = errors.New("it is only a part of its register")

// Encode is the inverse of Decode: the bytes to write. Numbers for scaled integers are rounded to the nearest raw step; what
// does not fit is an error that names the allowed range, never a truncated write. A bool also takes the numbers 0 and 1.
func (p Point) Encode(v Value) ([]byte, error) {
	data, err := p.encode(v)
	if err != nil {
		return nil, fmt.Errorf("point %q: %w", p.Name, err)
	}
	return data, nil
}

// Mask returns the masks of function 22 (mask write register) that write a partial point and nothing else:
// new = (current AND and) OR (or AND NOT and).
func (p Point) Mask(v Value) (and, or uint16, err error) {
	if !p.Partial() {
		return 0, 0, fmt.Errorf("point %q: it fills its registers, a mask is for parts", p.Name)
	}
	raw, err := p.toRaw(v)
	if err == nil && !p.Writable() {
		err = fmt.Errorf("area %s is read only", p.Area)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("point %q: %w", p.Name, err)
	}
	and, or = p.place()
	or &= uint16(raw << p.shift())
	if p.swapped() {
		and, or = and<<8|and>>8, or<<8|or>>8
	}
	return and, or, nil
}

// Merge returns the register to write for a partial point, for units without function 22: current is what the register holds
// now, two bytes as they arrived.
func (p Point) Merge(current []byte, v Value) ([]byte, error) {
	and, or, err := p.Mask(v)
	if err != nil {
		return nil, err
	}
	if len(current) != 2 {
		return nil, fmt.Errorf("point %q: %d bytes of its register are given, it has 2", p.Name, len(current))
	}
	return binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(current)&and|or), nil
}

// place returns the bits of the register that are not the point's and those that are, before the byte order.
func (p Point) place() (others, own uint16) {
	own = 0xffff
	switch {
	case p.Bit != nil:
		own = 1 << *p.Bit
	case p.Type == Int8 || p.Type == Uint8:
		own = 0xff << p.shift()
	}
	return ^own, own
}

func (p Point) shift() int {
	switch {
	case p.Bit != nil:
		return *p.Bit
	case p.Byte == HighByte:
		return 8
	}
	return 0
}

func (p Point) swapped() bool {
	order, err := p.order()
	return err == nil && order[0] == 1
}

func (p Point) encode(v Value) ([]byte, error) {
	switch {
	case !p.Writable():
		return nil, fmt.Errorf("area %s is read only", p.Area)
	case p.Partial():
		return nil, ErrPartial
	}
	bytes, err := p.bytes(v)
	if err != nil || p.Bits() {
		return bytes, err
	}
	order, err := p.order()
	if err != nil {
		return nil, err
	}
	return order.wire(bytes), nil
}

// bytes returns the value in big-endian order.
func (p Point) bytes(v Value) ([]byte, error) {
	switch p.Type {
	case String:
		return p.spell(v)
	case Bytes:
		if v.kind != RawKind || len(v.text) != p.size() {
			return nil, fmt.Errorf("%q is not the %d bytes it takes", v, p.size())
		}
		return []byte(v.text), nil
	}
	raw, err := p.toRaw(v)
	if err != nil {
		return nil, err
	}
	if p.Bits() {
		return []byte{byte(raw)}, nil
	}
	return binary.BigEndian.AppendUint64(nil, raw)[8-p.size():], nil
}

func (p Point) spell(v Value) ([]byte, error) {
	room, step, at := p.size(), 1, 0
	if p.Byte != "" {
		room, step = p.Length, 2
	}
	if p.Byte == LowByte {
		at = 1
	}
	switch s, ok := v.Text(); {
	case !ok:
		return nil, fmt.Errorf("%q is not text", v)
	case len(s) > room:
		return nil, fmt.Errorf("text of %d bytes is longer than the %d it has room for", len(s), room)
	case strings.ContainsRune(s, 0) || !utf8.ValidString(s):
		return nil, fmt.Errorf("text %q holds NUL or is not UTF-8", s)
	case strings.HasSuffix(s, " "):
		return nil, fmt.Errorf("text %q ends in a blank, which would not come back", s)
	}
	out := make([]byte, p.size())
	for i := range len(v.text) {
		out[i*step+at] = v.text[i]
	}
	return out, nil
}

// toRaw returns the bits of a number or flag.
func (p Point) toRaw(v Value) (raw uint64, err error) {
	switch p.Type {
	case Bool:
		return rawFlag(v)
	case Float16, Float32, Float64:
		raw, err = p.rawReal(v)
	default:
		raw, err = p.rawWhole(v)
	}
	if err == nil && p.Absent != nil && raw == *p.Absent {
		return 0, fmt.Errorf("%s is raw %#x, by which the device says that it has no value", v, raw)
	}
	return raw, err
}

func rawFlag(v Value) (uint64, error) {
	switch v {
	case Flag(true), Integer(1), Number(1):
		return 1, nil
	case Flag(false), Integer(0), Number(0):
		return 0, nil
	}
	return 0, fmt.Errorf("%q is neither true nor false", v)
}

func (p Point) rawReal(v Value) (uint64, error) {
	f, ok := v.Float64()
	if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is not a finite number", v)
	}
	raw := p.fromValue(f)
	most := math.MaxFloat64
	switch p.Type {
	case Float16:
		most = 65504
	case Float32:
		most = math.MaxFloat32
	}
	if !(math.Abs(raw) <= most) {
		return 0, p.outside(v, -most, most)
	}
	switch p.Type {
	case Float16:
		return uint64(toHalf(raw)), nil
	case Float32:
		return uint64(math.Float32bits(float32(raw))), nil
	}
	return math.Float64bits(raw), nil
}

func (p Point) rawWhole(v Value) (uint64, error) {
	least, most, _ := bounds(p.Type)
	whole, err := p.unscale(v)
	if err != nil {
		return 0, err
	}
	if i, ok := whole.Int64(); whole == (Value{}) || whole.below && (!ok || i < least) || !whole.below && whole.bits > most {
		if p.scaled() {
			return 0, p.outside(v, float64(least), float64(most))
		}
		return 0, fmt.Errorf("%s is outside %d to %d%s", v, least, most, p.suffix())
	}
	if p.Type == BCD16 || p.Type == BCD32 {
		return toBCD(whole.bits), nil
	}
	return whole.bits & (1<<(8*width(p.Type)) - 1), nil
}

// unscale returns the integer to send, or the zero Value when it is beyond 64 bits.
func (p Point) unscale(v Value) (Value, error) {
	f, ok := v.Float64()
	switch {
	case !ok || math.IsNaN(f) || math.IsInf(f, 0):
		return Value{}, fmt.Errorf("%q is not a finite number", v)
	case !p.scaled() && v.kind == IntegerKind:
		return v, nil
	case !p.scaled() && f != math.Trunc(f):
		return Value{}, fmt.Errorf("%s has a fraction and the point has no scale", v)
	}
	switch f = math.Round(p.fromValue(f)); {
	case f >= 0 && f < 1<<64:
		return Unsigned(uint64(f)), nil
	case f < 0 && f >= -1<<63:
		return Integer(int64(f)), nil
	}
	return Value{}, nil
}

// fromValue is the inverse of toValue.
func (p Point) fromValue(f float64) float64 {
	if !p.scaled() {
		return f
	}
	if by := 1 / p.scale(); by == math.Trunc(by) {
		return (f - p.Offset) * by
	}
	return (f - p.Offset) / p.scale()
}

// outside names the allowed range in the value's unit.
func (p Point) outside(v Value, least, most float64) error {
	a, b := p.toValue(least), p.toValue(most)
	return fmt.Errorf("%s is outside %g to %g%s", v, min(a, b), max(a, b), p.suffix())
}

func (p Point) suffix() string {
	if p.Unit == "" {
		return ""
	}
	return " " + p.Unit
}
