// Package sensor interprets what devices of other vendors publish by MQTT: values in JSON, raw
// numbers and words, availability, stale values, and commands. It only makes decisions: it has no
// clock, no connection and no actor.
package sensor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Path leads to a value in a JSON document, by keys and array indexes. The empty path is the
// document itself.
type Path []step

type step struct {
	key   string
	index int // of an array; -1: use key
}

// ParsePath parses a path like "ENERGY.Power", "relays[0].ison" or "\"a.b\".c": keys are separated
// by dots; a key in quotes may contain anything.
func ParsePath(text string) (Path, error) {
	var p Path
	for rest := text; rest != ""; {
		var s step
		var err error
		if s, rest, err = cutStep(rest, len(p) == 0); err != nil {
			return nil, fmt.Errorf("path %q: %w", text, err)
		}
		p = append(p, s)
	}
	return p, nil
}

// cutStep returns the first step of a path and the rest. Unless it is the first, a dot must come
// before it.
func cutStep(rest string, first bool) (step, string, error) {
	if rest[0] == '[' {
		digits, after, ok := strings.Cut(rest[1:], "]")
		n, err := strconv.ParseUint(digits, 10, 16)
		if !ok || err != nil {
			return step{}, "", errors.New("an index is [0] to [65535]")
		}
		return step{index: int(n)}, after, nil
	}
	if !first {
		if rest[0] != '.' {
			return step{}, "", errors.New("keys are separated by dots")
		}
		rest = rest[1:]
	}
	if strings.HasPrefix(rest, `"`) {
		key, after, ok := strings.Cut(rest[1:], `"`)
		if !ok {
			return step{}, "", errors.New("a quote is not closed")
		}
		return step{key, -1}, after, nil
	}
	end := strings.IndexAny(rest, `.["`)
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return step{}, "", errors.New("a key is empty: put it in quotes")
	}
	return step{rest[:end], -1}, rest[end:], nil
}

// String returns the path in the syntax of ParsePath.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p {
		if s.index >= 0 {
			fmt.Fprintf(&b, "[%d]", s.index)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		if s.key == "" || strings.ContainsAny(s.key, ".[]") {
			b.WriteString(`"` + s.key + `"`)
		} else {
			b.WriteString(s.key)
		}
	}
	return b.String()
}

// in returns the value at the path; ok is false if there is none.
func (p Path) in(tree any) (v any, ok bool) {
	for _, s := range p {
		switch t := tree.(type) {
		case map[string]any:
			if tree, ok = t[s.key]; !ok || s.index >= 0 {
				return nil, false
			}
		case []any:
			if s.index < 0 || s.index >= len(t) {
				return nil, false
			}
			tree = t[s.index]
		default:
			return nil, false
		}
	}
	return tree, true
}
