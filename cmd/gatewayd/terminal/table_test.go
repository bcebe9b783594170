package terminal

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Wrapping keeps all words, and no line is longer than the terminal.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, width := rapid.StringMatching(`[a-zä ]{0,200}`).Draw(t, "text"), rapid.IntRange(0, 60).Draw(t, "width")
		lines := Wrap(text, width)
		squeezed := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if squeezed(strings.Join(lines, "")) != squeezed(text) {
			t.Fatalf("%q became %q", text, lines)
		}
		for _, l := range lines {
			if width > 0 && utf8.RuneCountInString(l) > width {
				t.Fatalf("%q is wider than %d", l, width)
			}
		}
		if one := Cut(text, width)[0]; width > 0 && utf8.RuneCountInString(one) > width || width == 0 && one != text {
			t.Fatalf("%q is cut to %q", text, one)
		}
	})
}

// A display that is overwritten in place needs the number of terminal lines it takes.
func TestLinesOfATerminal(t *testing.T) {
	for text, want := range map[string][2]int{ // unlimited, and in 10 columns
		"": {0, 0}, "a\n": {1, 1}, "0123456789\n": {1, 1}, "0123456789a\nb\n": {2, 3}, "0123456789ä123456789a\n\n": {2, 4},
		"\x1b[1m0123456789\x1b[0m\n": {1, 1}, "██████████ 2 %\n": {1, 2},
	} {
		if endless, narrow := Lines(text, 0), Lines(text, 10); endless != want[0] || narrow != want[1] {
			t.Errorf("%q: %d and %d, want %v", text, endless, narrow, want)
		}
	}
}

func TestColumnsFitATerminal(t *testing.T) {
	rows := [][]Cell{Row("NAME", "MEANING"), Row("a", strings.Repeat("word ", 20)), Row("long-name", "short")}
	for width, want := range map[int]string{
		0:  "NAME       MEANING\na          " + strings.TrimSpace(strings.Repeat("word ", 20)) + "\nlong-name  short\n",
		40: "NAME       MEANING\na          word word word word word word\n           word word word word word word\n           word word word word word word\n           word word\nlong-name  short\n",
	} {
		out := &bytes.Buffer{}
		if err := Columns(out, Paint{}, rows, width, Wrap); err != nil || out.String() != want {
			t.Errorf("width %d: %v\n%swant\n%s", width, err, out, want)
		}
	}
	out := &bytes.Buffer{}
	if err := Columns(out, Paint{}, rows, 30, Cut); err != nil || !strings.Contains(out.String(), "a          word word word word…\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
