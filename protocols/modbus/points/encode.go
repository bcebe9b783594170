package points

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ErrPartial is returned by Encode for a point that shares its register. Use Mask or Merge to write
// it.
var ErrPartial = errors.New("it fills only part of a register")

// Encode is the inverse of Decode: it returns the bytes to write. Numbers for scaled integers are
// rounded to the nearest raw step. A value that does not fit is an error that names the allowed
// range, and is never truncated. A bool also accepts the numbers 0 and 1. A point with labels or
// flags accepts their names as text, several flags separated by commas.
func (p Point) Encode(v Value) ([]byte, error) {
	data, err := p.encode(v)
	if err != nil {
		return nil, fmt.Errorf("point %q: %w", p.Name, err)
	}
	return data, nil
}

// Mask returns the masks of function 22 (mask write register) that write a partial point and leave
// the rest of the register unchanged: new = (current AND and) OR (or AND NOT and).
func (p Point) Mask(v Value) (and, or uint16, err error) {
	if !p.Partial() {
		return 0, 0, fmt.Errorf("point %q: it fills its registers; a mask is only for a part of a register", p.Name)
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

// Merge returns the register to write for a partial point, for units without function 22. current
// is what the register holds now: two bytes as received.
func (p Point) Merge(current []byte, v Value) ([]byte, error) {
	and, or, err := p.Mask(v)
	if err != nil {
		return nil, err
	}
	if len(current) != 2 {
		return nil, fmt.Errorf("point %q: got %d bytes of its register instead of 2", p.Name, len(current))
	}
	return binary.BigEndian.AppendUint16(nil, binary.BigEndian.Uint16(current)&and|or), nil
}

// place returns the bits of the register that do not belong to the point and those that do, before
// the byte order is applied.
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
		raw, ok := v.Bytes()
		if !ok || len(raw) != p.size() {
			return nil, fmt.Errorf("%q does not have the %d bytes of this point", v, p.size())
		}
		return raw, nil
	}
	if p.Type == Fields {
		return toFields(v)
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
	s, ok := v.Text()
	switch {
	case !ok:
		return nil, fmt.Errorf("%q is not text", v)
	case len(s) > room:
		return nil, fmt.Errorf("text of %d bytes is longer than the %d it has room for", len(s), room)
	case strings.ContainsRune(s, 0) || !utf8.ValidString(s):
		return nil, fmt.Errorf("text %q holds NUL or is not UTF-8", s)
	case strings.HasSuffix(s, " "):
		return nil, fmt.Errorf("text %q ends in a blank, which would be lost when it is read back", s)
	}
	out := make([]byte, p.size())
	for i := range len(s) {
		out[i*step+at] = s[i]
	}
	return out, nil
}
