package points

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// ErrNoValue says that data was received correctly but represents no value: NaN, an infinity, an
// absent pattern or invalid digits. The transaction succeeded; the sample's quality is bad.
var ErrNoValue = errors.New("the device gives no value")

// Decode converts the point's own bytes, as received, to its value: two bytes per register, or one
// byte whose lowest bit is the coil or discrete input. The error is ErrNoValue, or says that the
// length is wrong.
func (p Point) Decode(data []byte) (Value, error) {
	return p.named(p.decode(data))
}

// named prefixes an error with the point's name.
func (p *Point) named(v Value, err error) (Value, error) {
	if err != nil {
		return Value{}, fmt.Errorf("point %q: %w", p.Name, err)
	}
	return v, nil
}

func (p *Point) decode(data []byte) (Value, error) {
	if len(data) != p.size() {
		return Value{}, fmt.Errorf("got %d bytes, but %s at %s %d takes %d", len(data), p.Type, p.Area, p.Address, p.size())
	}
	if p.bits() {
		return Flag(data[0]&1 == 1), nil
	}
	bytes := data
	if !p.straight() {
		order, err := p.order()
		if err != nil {
			return Value{}, err
		}
		bytes = order.value(data)
	}
	switch p.Type {
	case String:
		return Text(p.text(bytes)), nil
	case Bytes:
		return Raw(bytes), nil
	case Fields:
		return fromFields(bytes)
	}
	return p.fromRaw(p.cut(bytes))
}

// cut extracts the point's bits from its registers.
func (p *Point) cut(bytes []byte) uint64 {
	var raw uint64
	for _, b := range bytes {
		raw = raw<<8 | uint64(b)
	}
	if !p.partial() {
		return raw
	}
	and, _ := p.place()
	return raw & uint64(^and) >> p.shift()
}

func (p *Point) fromRaw(raw uint64) (Value, error) {
	if err := p.absent(raw); err != nil {
		return Value{}, err
	}
	switch p.Type {
	case Bool:
		return Flag(raw != 0), nil
	case Unix32, Unix64:
		return fromUnix(raw)
	case CP56:
		return fromCP56(raw)
	case BCDTime:
		return fromBCDTime(raw)
	case Float16, Float32, Float64:
		return p.real(raw)
	case BCD16, BCD32, BCD64:
		digits, ok := fromBCD(raw)
		if !ok {
			return Value{}, fmt.Errorf("%#x is not decimal digits: %w", raw, ErrNoValue)
		}
		return p.whole(Unsigned(digits))
	case Int8, Int16, Int32, Int64:
		unused := 64 - 8*width(p.Type)
		return p.whole(Integer(int64(raw<<unused) >> unused))
	}
	return p.whole(Unsigned(raw))
}

// whole scales an integer. Without a scale it stays exact.
func (p *Point) whole(v Value) (Value, error) {
	switch {
	case p.ScaleFrom != "":
		return v, nil // Rescale applies the scale
	case !p.scaled():
		return p.finish(v)
	}
	f, _ := v.Float64()
	return p.finite(f)
}

func (p *Point) real(raw uint64) (Value, error) {
	var f float64
	switch p.Type {
	case Float16:
		f = fromHalf(uint16(raw))
	case Float32:
		f = widen(math.Float32frombits(uint32(raw)))
	default:
		f = math.Float64frombits(raw)
	}
	return p.finite(f)
}

func (p *Point) finite(raw float64) (Value, error) {
	f := p.toValue(raw)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, fmt.Errorf("%s is %g: %w", p.Type, f, ErrNoValue)
	}
	return p.finish(Number(f))
}

// toValue applies the scale. If 1/scale is an integer, it divides by it: 2301 · 0.1 is
// 230.10000000000002, 2301 / 10 is 230.1.
func (p *Point) toValue(raw float64) float64 {
	if !p.scaled() {
		return raw
	}
	if by := 1 / p.scale(); by == math.Trunc(by) {
		return raw/by + p.Offset
	}
	return raw*p.scale() + p.Offset
}

// text decodes text, which ends at the first NUL and loses trailing blanks. Bytes that are not
// UTF-8 are decoded as ISO 8859-1, which old displays use.
func (p *Point) text(bytes []byte) string {
	if p.Byte != "" {
		one := make([]byte, len(bytes)/2)
		for i := range one {
			one[i] = byte(binary.BigEndian.Uint16(bytes[2*i:]) >> p.shift())
		}
		bytes = one
	}
	s, _, _ := strings.Cut(string(bytes), "\x00")
	s = strings.TrimRight(s, " ")
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range runes {
		runes[i] = rune(s[i])
	}
	return string(runes)
}
