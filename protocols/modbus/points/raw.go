package points

import (
	"fmt"
	"math"
)

// toRaw returns the raw bits for a value.
func (p Point) toRaw(v Value) (raw uint64, err error) {
	if v, err = p.labelled(v); err != nil {
		return 0, err
	}
	if err := p.within(v); err != nil {
		return 0, err
	}
	switch p.Type {
	case Bool:
		return rawFlag(v)
	case Float16, Float32, Float64:
		raw, err = p.rawReal(v)
	case Unix32, Unix64:
		raw, err = toUnix(v, width(p.Type))
	case CP56:
		raw, err = toCP56(v)
	case BCDTime:
		raw, err = toBCDTime(v)
	default:
		raw, err = p.rawWhole(v)
	}
	if err == nil && p.absent(raw) != nil {
		return 0, fmt.Errorf("%s cannot be written: the device uses its raw value %#x for a missing value", v, raw)
	}
	return raw, err
}

func rawFlag(v Value) (uint64, error) {
	switch v {
	case Flag(true), Integer(1), Number(1):
		return 1, nil
	case Flag(false), Integer(0), Number(0), Number(math.Copysign(0, -1)):
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
		return 0, fmt.Errorf("%s is out of range: %d to %d%s", v, least, most, p.suffix())
	}
	if p.Type == BCD16 || p.Type == BCD32 || p.Type == BCD64 {
		return toBCD(whole.bits), nil
	}
	return whole.bits & (1<<(8*width(p.Type)) - 1), nil
}

// unscale returns the integer to send, or the zero Value if it does not fit into 64 bits.
func (p Point) unscale(v Value) (Value, error) {
	f, ok := v.Float64()
	switch {
	case !ok || math.IsNaN(f) || math.IsInf(f, 0):
		return Value{}, fmt.Errorf("%q is not a finite number", v)
	case !p.scaled() && v.kind == IntegerKind:
		return v, nil
	case !p.scaled() && f != math.Trunc(f):
		return Value{}, fmt.Errorf("%s has a fraction, but the point is an integer without scale", v)
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

// outside returns an error that names the allowed range in the value's unit.
func (p Point) outside(v Value, least, most float64) error {
	a, b := p.toValue(least), p.toValue(most)
	return fmt.Errorf("%s is out of range: %g to %g%s", v, min(a, b), max(a, b), p.suffix())
}

func (p Point) suffix() string {
	if p.Unit == "" {
		return ""
	}
	return " " + p.Unit
}
