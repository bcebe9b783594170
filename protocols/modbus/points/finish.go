package points

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Finish describes what is done with a value after scaling, and the patterns and names that a
// device uses for values.
type Finish struct {
	// Limits; values beyond them are no value, or with Clamp are replaced by the limit; nil: no
	// limit.
	Min, Max *float64
	Clamp    bool
	Decimals *int       // number of decimals the value is rounded to, 0 to 15; nil: not rounded
	Absent   []Sentinel // raw values by which the device reports no value
	Labels   []Label    // names of values
	Flags    []Label    // names of bits
}

// Sentinel is a pattern of raw bits, in big-endian order, that means "no value", for instance
// 0x8000 in SunSpec.
type Sentinel struct {
	Raw   uint64
	Cause string // what the pattern means; may be empty
}

// Label is the name of a value or of a bit.
type Label struct {
	Value int64
	Text  string
}

func checkFinish(p Point) error {
	f := p.Finish
	if f == nil {
		return nil
	}
	if err := f.check(); err != nil {
		return err
	}
	switch _, _, whole := bounds(p.Type); {
	case len(f.Absent) > 0 && (p.Type == Bool || p.Type == String || p.Type == Bytes || p.Type == Fields):
		return fmt.Errorf("type %s cannot have absent values", p.Type)
	case (f.Min != nil || f.Max != nil || f.Decimals != nil) && (p.Type == Bool || p.Type == String || p.Type == Bytes || IsTime(p.Type)):
		return fmt.Errorf("type %s cannot have a minimum, a maximum or decimals", p.Type)
	case len(f.Labels) > 0 && !whole && p.Type != Bool:
		return fmt.Errorf("type %s cannot have labels; integers and bool can", p.Type)
	case len(f.Flags) > 0 && (!whole || p.scaled() || p.ScaleFrom != ""):
		return fmt.Errorf("type %s cannot have flags; only unscaled integers can", p.Type)
	}
	for _, a := range f.Absent {
		if width(p.Type) < 8 && a.Raw>>(8*width(p.Type)) != 0 {
			return fmt.Errorf("absent value %#x does not fit into type %s", a.Raw, p.Type)
		}
	}
	for _, l := range f.Flags {
		if l.Value < 0 || l.Value >= int64(8*width(p.Type)) {
			return fmt.Errorf("bit %d is beyond the bits of type %s", l.Value, p.Type)
		}
	}
	return nil
}

func (f *Finish) check() error {
	for _, limit := range []*float64{f.Min, f.Max} {
		if limit != nil && (math.IsNaN(*limit) || math.IsInf(*limit, 0)) {
			return fmt.Errorf("the limit %g is not finite", *limit)
		}
	}
	switch {
	case f.Min != nil && f.Max != nil && *f.Min > *f.Max:
		return fmt.Errorf("the minimum %g is above the maximum %g", *f.Min, *f.Max)
	case f.Decimals != nil && (*f.Decimals < 0 || *f.Decimals > 15):
		return fmt.Errorf("decimals %d is out of range: 0 to 15", *f.Decimals)
	case len(f.Labels) > 0 && len(f.Flags) > 0:
		return fmt.Errorf("a point has labels for its values or flags for its bits, not both")
	}
	return nil
}

// absent returns ErrNoValue with the reason if raw is an absent pattern.
func (p *Point) absent(raw uint64) error {
	if p.Finish == nil {
		return nil
	}
	for _, a := range p.Finish.Absent {
		switch {
		case a.Raw != raw:
		case a.Cause != "":
			return fmt.Errorf("%s (%#x): %w", a.Cause, raw, ErrNoValue)
		default:
			return fmt.Errorf("%#x: %w", raw, ErrNoValue)
		}
	}
	return nil
}

func (p *Point) finish(v Value) (Value, error) {
	if p.Finish == nil {
		return v, nil
	}
	return p.Finish.Apply(v)
}

// Apply rounds a number and applies the limits.
func (f *Finish) Apply(v Value) (Value, error) {
	n, ok := v.Float64()
	if !ok {
		return v, nil
	}
	if f.Decimals != nil && v.kind == NumberKind {
		n = Round(n, *f.Decimals)
		v = Number(n)
	}
	switch {
	case f.Min != nil && n < *f.Min && f.Clamp:
		return Number(*f.Min), nil
	case f.Max != nil && n > *f.Max && f.Clamp:
		return Number(*f.Max), nil
	case f.Min != nil && n < *f.Min:
		return Value{}, fmt.Errorf("%s is below %g: %w", v, *f.Min, ErrNoValue)
	case f.Max != nil && n > *f.Max:
		return Value{}, fmt.Errorf("%s is above %g: %w", v, *f.Max, ErrNoValue)
	}
	return v, nil
}

// Round rounds to decimals, half away from zero. A number too large to have that many decimals is
// returned unchanged.
func Round(f float64, decimals int) float64 {
	by := math.Pow10(decimals)
	if math.Abs(f) >= (1<<53)/by {
		return f
	}
	return math.Round(f*by) / by
}

// within refuses to write a value that could not be read back.
func (p *Point) within(v Value) error {
	n, ok := v.Float64()
	f := p.Finish
	if f == nil || !ok {
		return nil
	}
	if f.Min != nil && n < *f.Min {
		return fmt.Errorf("%s is below %g%s", v, *f.Min, p.suffix())
	}
	if f.Max != nil && n > *f.Max {
		return fmt.Errorf("%s is above %g%s", v, *f.Max, p.suffix())
	}
	return nil
}

// MaxExponent bounds the exponent of a scale that another point holds (SunSpec sunssf: -10 to 10).
const MaxExponent = 10

// Rescaled returns the point with the scale given by the current exponent, the value of the point
// named by ScaleFrom.
func (p Point) Rescaled(exponent Value) (Point, error) {
	n, ok := exponent.Float64()
	if !ok || n != math.Trunc(n) || math.Abs(n) > MaxExponent {
		return Point{}, fmt.Errorf("point %q: scale factor %s of %q is not an integer exponent from -10 to 10: %w", p.Name, exponent, p.ScaleFrom, ErrNoValue)
	}
	scale := p.scale()
	if n < 0 {
		scale /= math.Pow10(int(-n))
	} else {
		scale *= math.Pow10(int(n))
	}
	p.Scale, p.ScaleFrom = scale, ""
	return p, nil
}

// Rescale converts the raw integer of a point with ScaleFrom to its value.
func (p Point) Rescale(raw, exponent Value) (Value, error) {
	q, err := p.Rescaled(exponent)
	if err != nil {
		return Value{}, err
	}
	return q.named(q.whole(raw))
}

// Label returns the name of the value, or "" if it has none. For a point with Flags it lists the
// bits that are set; a bit without a name is listed by its number.
func (p *Point) Label(v Value) string {
	f := p.Finish
	if f == nil || len(f.Labels)+len(f.Flags) == 0 {
		return ""
	}
	if len(f.Flags) > 0 {
		return f.set(v.bits)
	}
	n, ok := v.Float64()
	if !ok {
		if n = 0; v == Flag(true) {
			n = 1
		}
	}
	for _, l := range f.Labels {
		if float64(l.Value) == n && v.kind != None {
			return l.Text
		}
	}
	return ""
}

func (f *Finish) set(bits uint64) string {
	var names []string
	for i := 0; bits != 0; i, bits = i+1, bits>>1 {
		if bits&1 == 0 {
			continue
		}
		name := "bit " + strconv.Itoa(i)
		for _, l := range f.Flags {
			if l.Value == int64(i) {
				name = l.Text
			}
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// labelled returns the value to write: a text is converted from the name of a value, or from the
// names of the bits to set, separated by commas. Case matters only if names differ in nothing else.
func (p *Point) labelled(v Value) (Value, error) {
	text, ok := v.Text()
	if f := p.Finish; !ok || f == nil {
		return v, nil
	} else if len(f.Flags) > 0 {
		return f.raised(text)
	} else if len(f.Labels) == 0 {
		return v, nil
	}
	n, err := spoken(p.Finish.Labels, text)
	if err == nil && p.Type == Bool {
		return Flag(n != 0), nil
	}
	return Integer(n), err
}

// raised returns the number with the named bits set.
func (f *Finish) raised(text string) (Value, error) {
	if n, err := spoken(f.Flags, text); err == nil { // a name may contain a comma
		return Unsigned(1 << n), nil
	}
	var bits uint64
	for name := range strings.SplitSeq(text, ",") {
		n, err := spoken(f.Flags, strings.TrimSpace(name))
		if err != nil {
			return Value{}, err
		}
		bits |= 1 << n
	}
	return Unsigned(bits), nil
}

func spoken(all []Label, text string) (int64, error) {
	for _, same := range []func(a, b string) bool{func(a, b string) bool { return a == b }, strings.EqualFold} {
		for _, l := range all {
			if same(l.Text, text) {
				return l.Value, nil
			}
		}
	}
	var names []string
	for _, l := range all {
		names = append(names, l.Text)
	}
	return 0, fmt.Errorf("%q is not one of %s", text, strings.Join(names, ", "))
}
