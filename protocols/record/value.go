package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Kinds of values as they are stored, in the low bits of the byte before the value.
const (
	kindNil = iota
	kindFalse
	kindTrue
	kindInt     // zigzag varint
	kindUint    // varint
	kindWhole   // a float64 without a fraction, as a zigzag varint
	kindFloat32 // a float64 that fits into four bytes
	kindFloat64
	kindText
	kindBytes
	kindBits = 0x0f

	withQuality = 0x10 // two texts follow the value: quality and cause
)

// wholeLimit bounds the numbers that are shorter as a varint than as eight bytes.
const wholeLimit = 1 << 47

func appendValue(p []byte, f *Field) ([]byte, error) {
	var quality byte
	if f.Quality != "" || f.Cause != "" {
		quality = withQuality
	}
	switch v := f.Value.(type) {
	case nil:
		p = append(p, kindNil|quality)
	case bool:
		kind := byte(kindFalse)
		if v {
			kind = kindTrue
		}
		p = append(p, kind|quality)
	case int64:
		p = binary.AppendVarint(append(p, kindInt|quality), v)
	case uint64:
		p = binary.AppendUvarint(append(p, kindUint|quality), v)
	case float64:
		p = appendFloat(p, quality, v)
	case string:
		p = text(append(p, kindText|quality), v)
	case []byte:
		p = text(append(p, kindBytes|quality), string(v))
	default:
		return p, fmt.Errorf("a value cannot be a %T", v)
	}
	if quality != 0 {
		p = text(text(p, f.Quality), f.Cause)
	}
	return p, nil
}

func appendFloat(p []byte, quality byte, v float64) []byte {
	switch short := float32(v); {
	case v == math.Trunc(v) && math.Abs(v) < wholeLimit && (v != 0 || !math.Signbit(v)):
		return binary.AppendVarint(append(p, kindWhole|quality), int64(v))
	case float64(short) == v:
		return binary.LittleEndian.AppendUint32(append(p, kindFloat32|quality), math.Float32bits(short))
	}
	return binary.LittleEndian.AppendUint64(append(p, kindFloat64|quality), math.Float64bits(v))
}

// reader reads from the front of p. bad is set once something is missing.
type reader struct {
	p   []byte
	bad bool
}

func (r *reader) byte() byte {
	if p := r.bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// bytes returns the next n bytes, or nil if there are fewer.
func (r *reader) bytes(n int) []byte {
	if r.bad || n > len(r.p) {
		r.bad = true
		return nil
	}
	p := r.p[:n]
	r.p = r.p[n:]
	return p
}

func (r *reader) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(r.p)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.p)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *reader) text(limit int) string {
	return string(r.bytes(int(r.uvarint(uint64(min(limit, len(r.p)))))))
}

func (r *reader) value(f *Field) {
	kind := r.byte()
	switch kind & kindBits {
	case kindNil:
	case kindFalse, kindTrue:
		f.Value = kind&kindBits == kindTrue
	case kindInt:
		f.Value = r.varint()
	case kindUint:
		f.Value = r.uvarint(math.MaxUint64)
	case kindWhole:
		f.Value = float64(r.varint())
	case kindFloat32:
		if p := r.bytes(4); p != nil {
			f.Value = float64(math.Float32frombits(binary.LittleEndian.Uint32(p)))
		}
	case kindFloat64:
		if p := r.bytes(8); p != nil {
			f.Value = math.Float64frombits(binary.LittleEndian.Uint64(p))
		}
	case kindText:
		f.Value = r.text(len(r.p))
	case kindBytes:
		f.Value = []byte(r.text(len(r.p)))
	default:
		r.bad = true
	}
	if kind&withQuality != 0 {
		f.Quality, f.Cause = r.text(len(r.p)), r.text(len(r.p))
	}
}
