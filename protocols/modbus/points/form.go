package points

// The types of a point. Integers are two's complement, floats IEEE 754, bcd are four, eight or
// sixteen unsigned decimal digits.
const (
	Bool    = "bool"
	Int8    = "int8"
	Uint8   = "uint8"
	Int16   = "int16"
	Uint16  = "uint16"
	Int32   = "int32"
	Uint32  = "uint32"
	Int64   = "int64"
	Uint64  = "uint64"
	Float16 = "float16"
	Float32 = "float32"
	Float64 = "float64"
	BCD16   = "bcd16"
	BCD32   = "bcd32"
	BCD64   = "bcd64"
	String  = "string"
	Bytes   = "bytes"

	Unix32  = "unix32"   // seconds since 1970, unsigned
	Unix64  = "unix64"   // the same in 64 bits
	CP56    = "cp56"     // CP56Time2a of IEC 60870-5-4 in four registers, as sent by meters
	BCDTime = "bcd-time" // the digits YYMMDDhhmmss
	Fields  = "ymdhms"   // one register each for year, month, day, hour, minute, second
)

// Types returns all types a point can have.
func Types() []string {
	return []string{
		Bool, Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64, Float16, Float32, Float64, BCD16, BCD32, BCD64, String, Bytes,
		Unix32, Unix64, CP56, BCDTime, Fields,
	}
}

// width returns the size of a type's value in bytes; 0 if the point specifies it (string, bytes) or
// the type is unknown.
func width(form string) int {
	switch form {
	case Int8, Uint8:
		return 1
	case Bool, Int16, Uint16, Float16, BCD16:
		return 2
	case Int32, Uint32, Float32, BCD32, Unix32:
		return 4
	case BCDTime:
		return 6
	case Int64, Uint64, Float64, BCD64, Unix64, CP56:
		return 8
	case Fields:
		return 12
	}
	return 0
}

// bounds returns the smallest and the largest integer of a type. ok is false if the type does not
// hold integers.
func bounds(form string) (least int64, most uint64, ok bool) {
	switch form {
	case Int8, Int16, Int32, Int64:
		shift := 8*width(form) - 1
		return -1 << shift, 1<<shift - 1, true
	case Uint8, Uint16, Uint32:
		return 0, 1<<(8*width(form)) - 1, true
	case Uint64:
		return 0, 1<<64 - 1, true
	case BCD16:
		return 0, 9999, true
	case BCD32:
		return 0, 99999999, true
	case BCD64:
		return 0, 9999999999999999, true
	}
	return 0, 0, false
}

// IsTime reports whether a type is a time, whose value is text.
func IsTime(form string) bool {
	switch form {
	case Unix32, Unix64, CP56, BCDTime, Fields:
		return true
	}
	return false
}
