package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2/unstable"
)

// syntax reads TOML expressions with their positions. After an error it continues at the next line
// that looks like the start of an expression.
type syntax struct {
	text    []byte
	starts  []int // offsets of the lines
	words   map[string]string
	base    int // offset in text where the parser was last reset
	builder builder
	broken  bool // some text could not be read, so a missing key proves nothing
	parser  unstable.Parser
}

func newSyntax(text []byte, problem func(line int, key, format string, args ...any)) *syntax {
	text, legible := decoded(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), problem)
	s := &syntax{text: text, starts: []int{0}, words: map[string]string{}, broken: !legible}
	for i, c := range text {
		if c == '\n' && i+1 < len(text) {
			s.starts = append(s.starts, i+1)
		}
	}
	root := newTable(byHeader, 1)
	s.builder = builder{root: root, here: root, problem: problem}
	return s
}

// line returns the line of an offset in the text.
func (s *syntax) line(offset int) int {
	return sort.SearchInts(s.starts, offset+1)
}

func (s *syntax) document() *value {
	for {
		s.parser.Reset(s.text[s.base:])
		end := -1
		for s.parser.NextExpression() {
			end = s.expression(s.parser.Expression())
		}
		if s.parser.Error() == nil || !s.recover(end) {
			return s.builder.root
		}
	}
}

// expression handles one header or key and returns an offset on its last line.
func (s *syntax) expression(n *unstable.Node) int {
	parts := s.parts(n)
	switch n.Kind {
	case unstable.Table, unstable.ArrayTable:
		s.builder.enter(parts, n.Kind == unstable.ArrayTable)
		return s.starts[parts[len(parts)-1].line-1]
	case unstable.KeyValue:
		v := s.value(n.Value(), parts[0].line, s.builder.at, 0)
		s.builder.set(s.builder.here, s.builder.at, parts, v)
	}
	return s.base + int(n.Raw.Offset) + max(int(n.Raw.Length)-1, 0)
}

func (s *syntax) parts(n *unstable.Node) []part {
	var parts []part
	for it := n.Key(); it.Next(); {
		k := it.Node()
		parts = append(parts, part{s.word(k.Data), s.line(s.base + int(k.Raw.Offset))})
	}
	return parts
}

// word returns b as a string that is shared by all its occurrences: a plant has few different
// words, each of them many times. A substring kept by a config would retain the whole text.
func (s *syntax) word(b []byte) string {
	w, known := s.words[string(b)]
	if !known {
		w = string(b)
		s.words[w] = w
	}
	return w
}

// value copies n out of the parser. A list has no position of its own and gets that of what
// contains it.
func (s *syntax) value(n *unstable.Node, line int, at string, depth int) *value {
	if n.Raw.Length > 0 {
		line = s.line(s.base + int(n.Raw.Offset))
	}
	if depth > deepest {
		s.builder.problem(line, at, "values are nested more than %d deep", deepest)
		return &value{form: timeForm, line: line}
	}
	switch n.Kind {
	case unstable.Array:
		v := &value{form: listForm, origin: inline, line: line}
		for it := n.Children(); it.Next(); {
			v.items = append(v.items, s.value(it.Node(), line, at, depth+1))
			line = v.items[len(v.items)-1].line
		}
		return v
	case unstable.InlineTable:
		v := newTable(byDots, line)
		for it := n.Children(); it.Next(); {
			parts := s.parts(it.Node())
			s.builder.set(v, at, parts, s.value(it.Node().Value(), parts[0].line, at, depth+1))
		}
		v.seal()
		return v
	}
	return &value{form: scalarForm(n.Kind), line: line, text: s.word(n.Data)}
}

// seal closes an inline table, with all tables that dotted keys created in it.
func (v *value) seal() {
	v.origin = inline
	for _, e := range v.entries {
		if e.val.form == tableForm && e.val.origin == byDots {
			e.val.seal()
		}
	}
}

func scalarForm(k unstable.Kind) form {
	switch k {
	case unstable.String:
		return textForm
	case unstable.Bool:
		return booleanForm
	case unstable.Integer:
		return integerForm
	case unstable.Float:
		return decimalForm
	default:
		return timeForm
	}
}

var (
	headerLine = regexp.MustCompile(`^\s*\[\[?\s*[A-Za-z][A-Za-z0-9_\-."' ]*\]{0,2}\s*(#.*)?$`)
	keyOfLine  = regexp.MustCompile(`^\s*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*=`)
	keyLine    = regexp.MustCompile(`^\s*[A-Za-z0-9_\-."']+\s*=\s*(.*[^,\s])?\s*$`)
)

// recover reports the parser's error and finds where to continue; it returns false at the end. The
// invalid expression begins after offset end.
func (s *syntax) recover(end int) bool {
	s.broken = true
	begin := s.begin(end)
	message, at := "cannot be read", begin
	var pe *unstable.ParserError
	if errors.As(s.parser.Error(), &pe) {
		offset := min(cap(s.parser.Data())-cap(pe.Highlight), len(s.parser.Data()))
		at = s.line(min(s.base+offset, len(s.text)-1))
		message = humanSyntax(pe.Message, s.text[s.base+offset:])
	}
	if at > begin {
		message += fmt.Sprintf(" (begins in line %d)", begin)
	}
	key := ""
	if m := keyOfLine.FindSubmatch(s.lineText(begin)); m != nil {
		key = strings.TrimPrefix(s.builder.at+"."+string(m[1]), ".")
	}
	s.builder.problem(at, key, "%s", message)
	header := bytes.HasPrefix(bytes.TrimSpace(s.lineText(begin)), []byte("["))
	for l := begin + 1; l <= len(s.starts); l++ {
		text := s.lineText(l)
		if headerLine.Match(text) || !header && keyLine.Match(text) {
			s.base = s.starts[l-1]
			return true
		}
	}
	return false
}

// begin returns the first line that is neither blank nor a comment, starting with the line after
// offset end; end is -1 if the parser has read nothing since its last reset.
func (s *syntax) begin(end int) int {
	l := s.line(s.base)
	if end >= 0 {
		l = s.line(end) + 1
	}
	for ; l < len(s.starts); l++ {
		if t := bytes.TrimSpace(s.lineText(l)); len(t) > 0 && t[0] != '#' {
			break
		}
	}
	return min(l, len(s.starts))
}

func (s *syntax) lineText(l int) []byte {
	end := len(s.text)
	if l < len(s.starts) {
		end = s.starts[l]
	}
	return s.text[s.starts[l-1]:end]
}

var codePoint = regexp.MustCompile(`U\+[0-9A-F]+ ('.+')`)

// humanSyntax rewords the parser's message; rest is the text from where it stopped.
func humanSyntax(message string, rest []byte) string {
	word, _, _ := strings.Cut(string(bytes.ToValidUTF8(rest[:min(len(rest), 60)], []byte("?"))), "\n")
	word = strings.TrimRight(strings.TrimSpace(word), ",]}")
	if fields := strings.Fields(word); len(fields) > 0 {
		word = fields[0]
	}
	letter := word != "" && unicode.IsLetter([]rune(word)[0])
	switch {
	case message == "strings must be quoted":
		return `a text must be in quotes, like "20s"`
	case strings.HasPrefix(message, "expected keyword"), strings.Contains(message, "at start of value") && letter:
		return fmt.Sprintf("a text must be in quotes: %q", word)
	case strings.Contains(message, "at start of value") && (word == "" || word[0] == '#'):
		return `a value is missing after "="`
	case strings.HasSuffix(message, "strings cannot have new lines"), strings.HasPrefix(message, "unterminated"):
		return "the closing quote is missing"
	case message == "expected '=' after key":
		return `"=" is missing after the key`
	case strings.HasPrefix(message, "expected newline but got") && word != "":
		return fmt.Sprintf("unexpected %q, a new line was expected", word)
	}
	return codePoint.ReplaceAllString(message, "$1")
}
