package sensor

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// Point is one value in the messages of a device.
type Point struct {
	Name, Topic, Group string
	Path               Path
	Type               Kind // Number, Integer, Flag or Text
	Scale, Offset      float64
	Labels             []Label
	On, Off            []string
	Absent             []Sentinel
	Min, Max           *float64
	Decimals           *int
	Silence            time.Duration // 0: it is published on change only
	Optional           bool
}

// Label is the name of a number.
type Label struct {
	Value int64
	Text  string
}

// Sentinel is a word that stands for no value.
type Sentinel struct{ Word, Cause string }

// errNone is returned if a message contains the point without a value.
var errNone = errors.New("the device reports no value")

// read returns the point's value and label in a message. there is false if the message does not
// contain it.
func (p *Point) read(d *document) (v Value, label string, there bool, err error) {
	raw, there, err := d.at(p.Path)
	if err != nil || !there {
		return Value{}, "", err != nil, err
	}
	text, ok := word(raw)
	switch {
	case raw == nil:
		return Value{}, "", true, errNone
	case !ok:
		return Value{}, "", true, errors.New("it is an object or array: the path must lead to a single value")
	}
	for _, a := range p.Absent {
		if strings.EqualFold(a.Word, text) {
			return Value{}, "", true, a.err()
		}
	}
	v, label, err = p.value(text)
	return v, label, true, err
}

func (s Sentinel) err() error {
	if s.Cause == "" {
		return fmt.Errorf("%w: %s", errNone, excerpt(s.Word))
	}
	return errors.New(s.Cause)
}

func (p *Point) value(text string) (Value, string, error) {
	switch p.Type {
	case Flag:
		v, err := p.flag(text)
		return v, "", err
	case Text:
		return Value{Kind: Text, Text: text}, "", nil
	}
	for _, l := range p.Labels {
		if strings.EqualFold(l.Text, text) {
			return Value{Kind: Number, Number: float64(l.Value)}, l.Text, nil
		}
	}
	v, err := p.numeral(strings.TrimSpace(text))
	if err != nil {
		if len(p.Labels) > 0 {
			err = fmt.Errorf("%s is not one of %s", excerpt(text), p.words())
		}
		return Value{}, "", err
	}
	return v, p.label(v), nil
}

// numeral returns the value of a Number or Integer that was sent as text or number.
func (p *Point) numeral(text string) (Value, error) {
	plain := (p.Scale == 0 || p.Scale == 1) && p.Offset == 0
	if p.Type == Integer && plain && p.Min == nil && p.Max == nil {
		return parseInteger(text)
	}
	f, err := parseNumber(text)
	if err != nil {
		return Value{}, err
	}
	if !plain {
		if p.Scale != 0 {
			f *= p.Scale
		}
		f += p.Offset
	}
	switch {
	case math.IsInf(f, 0):
		return Value{}, fmt.Errorf("%s is too large", excerpt(text))
	case p.Min != nil && f < *p.Min:
		return Value{}, fmt.Errorf("%v is less than %v", f, *p.Min)
	case p.Max != nil && f > *p.Max:
		return Value{}, fmt.Errorf("%v is more than %v", f, *p.Max)
	case p.Decimals != nil:
		f = round(f, *p.Decimals)
	}
	return Value{Kind: Number, Number: f}, nil
}

// round rounds to decimals. Numbers too large to have such decimals stay as they are.
func round(f float64, decimals int) float64 {
	unit := math.Pow10(decimals)
	if r := math.Round(f*unit) / unit; !math.IsInf(r, 0) {
		return r
	}
	return f
}

func (p *Point) label(v Value) string {
	f, _ := v.number()
	for _, l := range p.Labels {
		if float64(l.Value) == f {
			return l.Text
		}
	}
	return ""
}

func (p *Point) words() string {
	texts := make([]string, len(p.Labels))
	for i, l := range p.Labels {
		texts[i] = l.Text
	}
	return strings.Join(texts, ", ")
}

func (p *Point) flag(text string) (Value, error) {
	on, known := said(strings.TrimSpace(text), p.On, p.Off)
	if !known {
		return Value{}, fmt.Errorf("%s is neither on nor off", excerpt(text))
	}
	return Value{Kind: Flag, Flag: on}, nil
}

// said translates a word into yes or no, by these lists or by the usual words.
func said(text string, on, off []string) (yes, known bool) {
	if len(on)+len(off) == 0 {
		on, off = []string{"on", "true", "yes", "1", "online"}, []string{"off", "false", "no", "0", "offline"}
	}
	switch {
	case holds(on, text):
		return true, true
	case holds(off, text):
		return false, true
	}
	return false, false
}

func holds(words []string, text string) bool {
	for _, w := range words {
		if strings.EqualFold(w, text) {
			return true
		}
	}
	return false
}
