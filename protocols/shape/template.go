package shape

import (
	"fmt"
	"slices"
	"strings"
)

// template is a text in which ${name} stands for a value, and $$ for a $.
type template []piece

// piece is a literal text followed by a value.
type piece struct {
	text string
	name string // "": none
	bare bool   // ${name:text}: without quotes of its own, for use within quotes
}

// The values a template may use: of the sender, of a message, of a record, of a field.
var (
	ofGateway = []string{"gateway", "uplink", "client"}
	ofMessage = []string{"batch", "count"}
	ofRecord  = []string{
		"track", "track.name", "number", "sequence", "id", "time", "time.s", "time.ms", "time.ns", "trusted", "boot", "uptime.ms", "absent", "cause",
		"fields", "bad", "flags",
	}
	ofField = []string{"name", "value", "unit", "quality", "field.cause", "field.id"}
)

func parse(text string, names ...[]string) (template, error) {
	var t template
	var literal strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "$")
		literal.WriteString(before)
		if !ok {
			break
		}
		if after, is := strings.CutPrefix(rest, "$"); is {
			literal.WriteByte('$')
			text = after
			continue
		}
		inside, is := strings.CutPrefix(rest, "{")
		name, after, closed := strings.Cut(inside, "}")
		if !is || !closed {
			return nil, fmt.Errorf("%q: after $ a {name} must follow; write $$ for a $ itself", clip(text))
		}
		p := piece{text: literal.String(), name: name}
		p.name, p.bare = strings.CutSuffix(name, ":text")
		if !slices.Contains(slices.Concat(names...), p.name) {
			return nil, fmt.Errorf("${%s} is not one of %s", p.name, strings.Join(slices.Concat(names...), ", "))
		}
		t = append(t, p)
		literal.Reset()
		text = after
	}
	return append(t, piece{text: literal.String()}), nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// uses reports whether the template contains one of the values.
func (t template) uses(names ...string) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return slices.Contains(names, p.name) })
}

// render appends the template to b; put appends the value of a name.
func (t template) render(b []byte, put func(b []byte, p piece) []byte) []byte {
	for _, p := range t {
		b = append(b, p.text...)
		if p.name != "" {
			b = put(b, p)
		}
	}
	return b
}
