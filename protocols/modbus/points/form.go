package points

// The forms of a point's bytes. Integers are two's complement, floats IEEE 754, bcd four or eight unsigned decimal digits.
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
	String  = "string"
	Bytes   = "bytes"
)

// Types lists every type a point can have.
func Types() []string {
	return []string{
		Bool, Int8, Uint8, Int16, Uint16, Int32, Uint32, Int64, Uint64, Float16, Float32, Float64, BCD16, BCD32, String, Bytes,
	}
}

// width returns the bytes of a type's value; 0 where the point says it (string, bytes) or the type is unknown.
func width(form string) int {
	switch form {
	case Int8, Uint8:
		return 1
	case Bool, Int16, Uint16, Float16, BCD16:
		return 2
	case Int32, Uint32, Float32, BCD32:
		return 4
	case Int64, Uint64, Float64:
		return 8
	}
	return 0
}

// bounds returns the least and the greatest integer of a type that holds integers.
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
	}
	return 0, 0, false
}
