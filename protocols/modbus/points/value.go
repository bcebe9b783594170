package points

import (
	"encoding/hex"
	"math"
	"strconv"
	"unique"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of values.
const (
	None        Kind = iota // the zero Value
	NumberKind              // a finite float64
	IntegerKind             // a whole number from -2^63 to 2^64-1, exact
	FlagKind                // true or false
	TextKind                // UTF-8 text
	RawKind                 // bytes as received
)

// Value is the value of a point at one moment. Values are comparable with ==.
type Value struct {
	kind  Kind
	below bool                  // IntegerKind: bits is a negative int64
	bits  uint64                // NumberKind: the bits of the float64
	text  unique.Handle[string] // TextKind, RawKind; a handle keeps a Value small, and most values are neither
}

// Number returns a value that may have a fraction.
func Number(f float64) Value {
	return Value{kind: NumberKind, bits: math.Float64bits(f)}
}

// Integer returns a whole number as a value.
func Integer(i int64) Value { return Value{kind: IntegerKind, below: i < 0, bits: uint64(i)} }

// Unsigned returns a non-negative whole number as a value. Unsigned(5) equals Integer(5).
func Unsigned(u uint64) Value { return Value{kind: IntegerKind, bits: u} }

// Flag returns true or false as a value.
func Flag(b bool) Value {
	v := Value{kind: FlagKind}
	if b {
		v.bits = 1
	}
	return v
}

// Text returns a text as a value.
func Text(s string) Value { return Value{kind: TextKind, text: unique.Make(s)} }

// Raw returns bytes as a value.
func Raw(b []byte) Value { return Value{kind: RawKind, text: unique.Make(string(b))} }

// Kind returns the kind of the value, which determines the accessor that succeeds.
func (v Value) Kind() Kind { return v.kind }

// Float64 returns a number or an integer, rounded beyond 2^53.
func (v Value) Float64() (float64, bool) {
	switch {
	case v.kind == NumberKind:
		return math.Float64frombits(v.bits), true
	case v.kind == IntegerKind && v.below:
		return float64(int64(v.bits)), true
	case v.kind == IntegerKind:
		return float64(v.bits), true
	}
	return 0, false
}

// Int64 returns an integer if it fits.
func (v Value) Int64() (int64, bool) {
	ok := v.kind == IntegerKind && (v.below || v.bits <= math.MaxInt64)
	if !ok {
		return 0, false
	}
	return int64(v.bits), true
}

// Uint64 returns an integer if it is not negative.
func (v Value) Uint64() (uint64, bool) {
	if v.kind != IntegerKind || v.below {
		return 0, false
	}
	return v.bits, true
}

// Bool returns a flag.
func (v Value) Bool() (bool, bool) { return v.kind == FlagKind && v.bits == 1, v.kind == FlagKind }

// Text returns a text.
func (v Value) Text() (string, bool) {
	if v.kind != TextKind {
		return "", false
	}
	return v.text.Value(), true
}

// Bytes returns a copy of raw bytes.
func (v Value) Bytes() ([]byte, bool) {
	if v.kind != RawKind {
		return nil, false
	}
	return []byte(v.text.Value()), true
}

// String returns the value for display: text unchanged, bytes in hex.
func (v Value) String() string {
	switch v.kind {
	case NumberKind:
		return strconv.FormatFloat(math.Float64frombits(v.bits), 'g', -1, 64)
	case IntegerKind:
		if v.below {
			return strconv.FormatInt(int64(v.bits), 10)
		}
		return strconv.FormatUint(v.bits, 10)
	case FlagKind:
		return strconv.FormatBool(v.bits == 1)
	case TextKind:
		return v.text.Value()
	case RawKind:
		return hex.EncodeToString([]byte(v.text.Value()))
	}
	return "none"
}
