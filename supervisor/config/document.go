package config

import (
	"fmt"
	"strconv"
	"strings"
)

// deepest is the maximum nesting depth of tables and lists.
const deepest = 32

// few is the number of entries up to which a table has no index: a plant has thousands of small
// tables.
const few = 8

type form int

const (
	tableForm form = iota
	listForm
	textForm
	integerForm
	decimalForm
	booleanForm
	timeForm
)

// origin says how a table or list was created, which determines what may still be added to it (TOML
// 1.0, "Table", "Inline Table", "Array of Tables").
type origin int

const (
	implied  origin = iota // the [a] of [a.b]
	byHeader               // [a] or [[a]]
	byDots                 // the a of a.b = 1
	inline                 // {…} or […]
)

// value is a TOML value with its position.
type value struct {
	form    form
	origin  origin
	line    int
	text    string // of a scalar: the string itself, or the literal as written
	entries []entry
	index   map[string]int // of entries; nil while there are few
	items   []*value
}

type entry struct {
	key  string
	line int
	val  *value
}

func newTable(o origin, line int) *value {
	return &value{form: tableForm, origin: o, line: line}
}

func (v *value) get(key string) (entry, bool) {
	if v.index != nil {
		i, ok := v.index[key]
		if !ok {
			return entry{}, false
		}
		return v.entries[i], true
	}
	for _, e := range v.entries {
		if e.key == key {
			return e, true
		}
	}
	return entry{}, false
}

func (v *value) add(key string, line int, val *value) {
	v.entries = append(v.entries, entry{key, line, val})
	switch {
	case v.index != nil:
		v.index[key] = len(v.entries) - 1
	case len(v.entries) > few:
		v.index = make(map[string]int, 2*few)
		for i, e := range v.entries {
			v.index[e.key] = i
		}
	}
}

// tables reports whether v is a non-empty list of tables.
func (v *value) tables() bool {
	if v.form != listForm || len(v.items) == 0 {
		return false
	}
	for _, i := range v.items {
		if i.form != tableForm {
			return false
		}
	}
	return true
}

// scalar returns v as schemas.Scalar takes it; ok is false for tables, lists, times and integers of
// more than 64 bits.
func (v *value) scalar() (any, bool) {
	switch v.form {
	case textForm:
		return v.text, true
	case booleanForm:
		return v.text == "true", true
	case integerForm:
		i, err := strconv.ParseInt(v.text, 0, 64)
		return i, err == nil
	case decimalForm:
		f, err := strconv.ParseFloat(strings.ReplaceAll(v.text, "_", ""), 64)
		return f, err == nil || f != 0
	}
	return nil, false
}

// what describes v in words.
func (v *value) what() string {
	switch v.form {
	case tableForm:
		return "a table"
	case listForm:
		return "a list"
	case textForm:
		return fmt.Sprintf("the text %q", v.text)
	case booleanForm:
		return v.text
	case timeForm:
		return "the date or time " + v.text
	default:
		return "the number " + v.text
	}
}

// keyText returns a key as it is written in TOML.
func keyText(key string) string {
	if key != "" && strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" {
		return key
	}
	return strconv.Quote(key)
}

func join(at, key string) string {
	if at == "" {
		return keyText(key)
	}
	return at + "." + keyText(key)
}

func nth(at string, i int) string { return fmt.Sprintf("%s[%d]", at, i) }
