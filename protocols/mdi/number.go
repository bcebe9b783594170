package mdi

import (
	"math"
	"strconv"
	"strings"
)

// maxMantissa is the largest integer up to which a double is exact.
const maxMantissa = 1 << 53

// decimal returns a number as m times 10^e with the fewest digits that identify it in single or
// double precision. ok is false for numbers that need too many digits.
func decimal(f float64, precision int) (m int64, e int, ok bool) {
	if math.IsInf(f, 0) || math.IsNaN(f) || f == 0 && math.Signbit(f) {
		return 0, 0, false
	}
	text := strconv.FormatFloat(f, 'e', -1, precision)
	digits, power, _ := strings.Cut(text, "e")
	e, err := strconv.Atoi(power)
	whole, fraction, _ := strings.Cut(digits, ".")
	if err != nil || len(fraction) > 14 {
		return 0, 0, false
	}
	m, err = strconv.ParseInt(whole+fraction, 10, 64)
	e -= len(fraction)
	for m != 0 && m%10 == 0 {
		m, e = m/10, e+1
	}
	if m == 0 {
		e = 0
	}
	return m, e, err == nil
}

// number returns the value of a mantissa in this form.
func (c Column) number(m int64) any {
	switch c.Form {
	case Signed:
		return m
	case Unsigned:
		return uint64(m)
	case Single:
		return float64(float32(scaled(m, int(c.Scale))))
	}
	return scaled(m, int(c.Scale))
}

// scaled returns the double nearest to m times 10^e: exactly that, as long as both are exact.
func scaled(m int64, e int) float64 {
	if e < 0 {
		return float64(m) / math.Pow10(-e)
	}
	return float64(m) * math.Pow10(e)
}

// mantissa returns the mantissa that means v in this form, if there is one.
func (c Column) mantissa(v any) (int64, bool) {
	switch x := v.(type) {
	case int64:
		return x, c.Form == Signed
	case uint64:
		return int64(x), c.Form == Unsigned && x <= math.MaxInt64
	case float64:
		if c.Form != Decimal && c.Form != Single {
			return 0, false
		}
		m, ok := c.round(x)
		return m, ok && math.Float64bits(c.number(m).(float64)) == math.Float64bits(x)
	}
	return 0, false
}

// round returns the mantissa nearest to f.
func (c Column) round(f float64) (int64, bool) {
	r := math.Round(f / math.Pow10(int(c.Scale)))
	if c.Scale < 0 {
		r = math.Round(f * math.Pow10(-int(c.Scale)))
	}
	return int64(r), math.Abs(r) <= maxMantissa
}

// formOf returns the form in which most of the values have a mantissa.
func formOf(values []any) (Form, int8) {
	var count [Single + 1]int
	least := [...]int{Decimal: maxScale, Single: maxScale}
	note := func(f Form, e int) { count[f], least[f] = count[f]+1, min(least[f], e) }
	for _, v := range values {
		switch x := v.(type) {
		case int64:
			count[Signed]++
		case uint64:
			count[Unsigned]++
		case float64:
			if _, e, ok := decimal(x, 64); ok && e >= minScale {
				note(Decimal, e)
			}
			if float64(float32(x)) == x {
				if _, e, ok := decimal(x, 32); ok && e >= minScale {
					note(Single, e)
				}
			}
		}
	}
	best := Other
	for _, f := range [...]Form{Signed, Unsigned, Decimal, Single} {
		if count[f] > count[best] {
			best = f
		}
	}
	// Numbers of single precision may have a short form as doubles too, but with more digits.
	if best == Decimal && count[Single] == count[Decimal] && least[Single] > least[Decimal] {
		best = Single
	}
	if best < Decimal {
		return best, 0
	}
	return best, int8(least[best])
}
