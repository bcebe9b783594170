package sparkplug

import (
	"fmt"
	"math"
	"strconv"

	"gatewayd/protocols/record"
)

// typeOf returns the type of a metric with this value; 0 if the value does not determine it.
func typeOf(v record.Value) DataType {
	switch v.(type) {
	case bool:
		return Boolean
	case int64:
		return Int64
	case uint64:
		return UInt64
	case float64:
		return Double
	case string:
		return String
	case []byte:
		return Bytes
	}
	return 0
}

// widen returns the type that can hold values of both: an integer combined with a fraction becomes
// a Double, and types that cannot be combined a String. It never narrows, so a metric changes its
// type at most twice.
func widen(a, b DataType) DataType {
	switch {
	case a == b || b == 0:
		return a
	case a == 0:
		return b
	case numeric(a) && numeric(b):
		return Double
	}
	return String
}

func numeric(t DataType) bool { return t == Int64 || t == UInt64 || t == Double }

// wire encodes v for a metric of type t; nil if v is nil or no value of that type.
func wire(t DataType, v record.Value) Value {
	switch x := v.(type) {
	case nil:
		return nil
	case bool:
		if t == Boolean {
			return x
		}
	case []byte:
		if t == Bytes {
			return x
		}
	case int64:
		return wireInt(t, x, float64(x))
	case uint64:
		if t == UInt64 || x <= math.MaxInt64 {
			return wireInt(t, int64(x), float64(x))
		}
		return wireFloat(t, float64(x))
	case float64:
		if t >= Int8 && t <= UInt64 && x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return wireInt(t, int64(x), x)
		}
		return wireFloat(t, x)
	}
	if t == String {
		return text(v)
	}
	return nil
}

// wireInt encodes the integer v, which for a UInt64 is its bits; f is the same number.
func wireInt(t DataType, v int64, f float64) Value {
	bits := width(t)
	switch t {
	case Int64:
		return Long(v)
	case UInt64:
		if v >= 0 || f >= 0 {
			return Long(v)
		}
	case Int8, Int16, Int32:
		if v>>(bits-1) == 0 || v>>(bits-1) == -1 {
			return Int(v)
		}
	case UInt8, UInt16, UInt32:
		if v>>bits == 0 {
			return Int(v)
		}
	case String:
		if v < 0 && f >= 0 {
			return strconv.FormatUint(uint64(v), 10)
		}
		return strconv.FormatInt(v, 10)
	}
	return wireFloat(t, f)
}

func wireFloat(t DataType, v float64) Value {
	switch t {
	case Double:
		return v
	case Float:
		return float32(v)
	case String:
		return text(v)
	}
	return nil
}

func text(v record.Value) Value {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		return v
	case []byte:
		return fmt.Sprintf("%x", v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}

// Typed returns the value of v in a metric of type t: int64, uint64, float64, bool, string or
// []byte. It accepts integers sign-extended to 32 bits as well as not extended, since both are in
// use.
func Typed(t DataType, v Value) (record.Value, error) {
	switch x := v.(type) {
	case Int:
		return integer(t, uint64(x))
	case Long:
		return integer(t, uint64(x))
	case float32:
		if t == Float || t == Double {
			return float64(x), nil
		}
	case float64:
		if t == Float || t == Double {
			return x, nil
		}
	case bool:
		if t == Boolean {
			return x, nil
		}
	case string:
		if t == String || t == Text || t == UUID {
			return x, nil
		}
	case []byte:
		if t == Bytes || t == File {
			return x, nil
		}
	}
	return nil, fmt.Errorf("%T is not a value for a metric of type %s", v, t)
}

func integer(t DataType, v uint64) (record.Value, error) {
	bits := width(t)
	switch t {
	case Int64:
		return int64(v), nil
	case UInt64, DateTime:
		return v, nil
	case UInt8, UInt16, UInt32:
		if v>>bits != 0 {
			return nil, fmt.Errorf("%d is out of range for %s", v, t)
		}
		return v, nil
	case Int8, Int16, Int32:
		lowest := int64(math.MinInt32) >> (32 - bits)
		s := int64(v)
		if v <= math.MaxUint32 && v>>bits != 0 { // sign-extended to 32 bits
			s = int64(int32(v))
		} else if v>>bits == 0 { // not extended
			s = int64(v<<(64-bits)) >> (64 - bits)
		}
		if s < lowest || s > -lowest-1 {
			return nil, fmt.Errorf("%d is out of range for %s", s, t)
		}
		return s, nil
	}
	return nil, fmt.Errorf("an integer is not a value for a metric of type %s", t)
}

// width returns the size of an integer type in bits.
func width(t DataType) int {
	switch t {
	case Int8, UInt8:
		return 8
	case Int16, UInt16:
		return 16
	}
	return 32
}
