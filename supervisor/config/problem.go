package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	configv1 "gatewayd/schemas/config/v1"
)

// Problem is one error or warning about a config file.
type Problem struct {
	File string `json:"file"`
	// Line is counted from 1; 0 if the file could not be read at all.
	Line int `json:"line,omitempty"`
	// Key is the dotted path of keys, e.g. "field.line.baud"; empty if the text there is not TOML.
	Key string `json:"key,omitempty"`
	// Message says what is wrong, what is allowed and what may have been meant.
	Message string `json:"message"`
	// Warning says that the setting works, but probably not as intended.
	Warning bool `json:"warning,omitempty"`
}

// String returns a line such as `plant.toml:6: field.line.buad: unknown key, did you mean "baud"?`.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Key != "" {
		b.WriteString(": " + p.Key)
	}
	if p.Warning {
		b.WriteString(": warning")
	}
	b.WriteString(": " + p.Message)
	return b.String()
}

// Problems are all problems of a config file, by line.
type Problems []Problem

// Error returns Format.
func (p Problems) Error() string { return p.Format() }

// Err returns nil if there are no problems.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	return p
}

// Format returns one line per problem, for people.
func (p Problems) Format() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// FormatJSON returns a JSON array with one object per problem: file, line, key, message, and
// warning if set.
func (p Problems) FormatJSON() ([]byte, error) {
	if p == nil {
		p = Problems{}
	}
	return json.Marshal([]Problem(p))
}

// Proto returns the problems as sent on the bus.
func (p Problems) Proto() []*configv1.Problem {
	out := make([]*configv1.Problem, len(p))
	for i, one := range p {
		out[i] = &configv1.Problem{File: one.File, Line: uint32(one.Line), Key: one.Key, Message: strings.ToValidUTF8(one.Message, "�")}
	}
	return out
}

// Split returns the errors and the warnings, each in the order of p.
func (p Problems) Split() (errors, warnings Problems) {
	for _, one := range p {
		if one.Warning {
			warnings = append(warnings, one)
		} else {
			errors = append(errors, one)
		}
	}
	return errors, warnings
}

// fatal reports whether any of the problems is more than a warning.
func (p Problems) fatal() bool {
	return slices.ContainsFunc(p, func(one Problem) bool { return !one.Warning })
}

func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
}
