package sensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	None Kind = iota
	Number
	Integer
	Unsigned
	Flag
	Text
)

// Value is one reading. Values can be compared with ==.
type Value struct {
	Kind     Kind
	Number   float64
	Integer  int64
	Unsigned uint64
	Flag     bool
	Text     string
}

// String returns the value for display.
func (v Value) String() string {
	switch v.Kind {
	case Number:
		return strconv.FormatFloat(v.Number, 'f', -1, 64)
	case Integer:
		return strconv.FormatInt(v.Integer, 10)
	case Unsigned:
		return strconv.FormatUint(v.Unsigned, 10)
	case Flag:
		return strconv.FormatBool(v.Flag)
	case Text:
		return strconv.Quote(v.Text)
	}
	return "nothing"
}

// number returns the value as a number; ok is false for flags and texts.
func (v Value) number() (f float64, ok bool) {
	switch v.Kind {
	case Number:
		return v.Number, true
	case Integer:
		return float64(v.Integer), true
	case Unsigned:
		return float64(v.Unsigned), true
	}
	return 0, false
}

// parseNumber parses decimal numbers only: no "inf", "nan", hexadecimal or underscores, which the
// library accepts.
func parseNumber(text string) (float64, error) {
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, fmt.Errorf("%s is not a number", excerpt(text))
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case math.IsInf(f, 0):
		return 0, fmt.Errorf("%s is too large", excerpt(text))
	case err != nil:
		return 0, fmt.Errorf("%s is not a number", excerpt(text))
	}
	return f, nil
}

// parseInteger keeps all digits of 64 bits.
func parseInteger(text string) (Value, error) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return Value{Kind: Integer, Integer: i}, nil
	}
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		return Value{Kind: Unsigned, Unsigned: u}, nil
	}
	f, err := parseNumber(text)
	if err != nil {
		return Value{}, err
	}
	if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return Value{}, fmt.Errorf("%s is not a 64-bit integer", excerpt(text))
	}
	return Value{Kind: Integer, Integer: int64(f)}, nil
}

// excerpt returns a foreign text quoted and shortened for a message.
func excerpt(text string) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
	}
	return strconv.Quote(text)
}
