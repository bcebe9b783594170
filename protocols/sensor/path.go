// Package sensor turns what devices of other makers publish by MQTT into values:
// JSON by path, raw numbers and words, whether the device is there, what has
// grown old, and how it is told to switch. It is all decisions: no clock, no
// connection, no actor.
package sensor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Path leads to a value in a JSON document: keys and indices of arrays. The
// empty one is the document itself.
type Path []step

type step struct {
	key   string
	index int // of an array; -1: key counts
}

// ParsePath reads a path like "ENERGY.Power", "relays[0].ison" or
// "\"a.b\".c": keys are separated by dots, a key in quotes may hold anything.
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

// cutStep takes the first step off a path, with the dot before it if there must
// be one.
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

// String is the path as ParsePath reads it.
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

// in finds what the path leads to; ok is false if that is not there.
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
