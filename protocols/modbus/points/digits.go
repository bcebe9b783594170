package points

import (
	"math"
	"strconv"
)

// widen returns the shortest decimal that rounds to f: a meter that sends 230.1 as binary32 means
// that, and not 230.10000610351562.
func widen(f float32) float64 {
	exact := float64(f)
	if exact == math.Trunc(exact) || exact != exact {
		return exact
	}
	var text [32]byte
	short, err := strconv.ParseFloat(string(strconv.AppendFloat(text[:0], exact, 'g', -1, 32)), 64)
	if err != nil {
		return exact
	}
	return short
}

// fromHalf converts an IEEE 754 binary16 to a float64.
func fromHalf(h uint16) float64 {
	exponent, fraction := int(h>>10&0x1f), float64(h&0x3ff)
	f := math.Ldexp(fraction+1024, exponent-25)
	switch {
	case exponent == 0:
		f = math.Ldexp(fraction, -24)
	case exponent == 31 && fraction == 0:
		f = math.Inf(1)
	case exponent == 31:
		f = math.NaN()
	}
	if h>>15 == 1 {
		return -f
	}
	return f
}

// toHalf converts a finite number of at most ±65504 to the nearest IEEE 754 binary16, ties to even.
func toHalf(f float64) uint16 {
	var sign uint16
	if math.Signbit(f) {
		sign, f = 1<<15, -f
	}
	if f < 0x1p-14 {
		return sign | uint16(math.RoundToEven(f*0x1p24))
	}
	_, exponent := math.Frexp(f)
	// If the fraction is rounded up to 2048, the addition carries into the exponent.
	return sign | uint16((exponent+14)<<10+int(math.RoundToEven(math.Ldexp(f, 11-exponent)))-1024)
}

func fromBCD(raw uint64) (uint64, bool) {
	var n, place uint64 = 0, 1
	for ; raw != 0; raw >>= 4 {
		if raw&0xf > 9 {
			return 0, false
		}
		n += raw & 0xf * place
		place *= 10
	}
	return n, true
}

func toBCD(n uint64) uint64 {
	var raw uint64
	for shift := 0; n != 0; shift += 4 {
		raw |= n % 10 << shift
		n /= 10
	}
	return raw
}
