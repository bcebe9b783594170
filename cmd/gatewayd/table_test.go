package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// Whatever is wrapped keeps its words, and no line is longer than the terminal.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, width := rapid.StringMatching(`[a-zä ]{0,200}`).Draw(t, "text"), rapid.IntRange(0, 60).Draw(t, "width")
		lines := wrap(text, width)
		squeezed := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if squeezed(strings.Join(lines, "")) != squeezed(text) {
			t.Fatalf("%q became %q", text, lines)
		}
		for _, l := range lines {
			if width > 0 && utf8.RuneCountInString(l) > width {
				t.Fatalf("%q is wider than %d", l, width)
			}
		}
		if one := cut(text, width)[0]; width > 0 && utf8.RuneCountInString(one) > width || width == 0 && one != text {
			t.Fatalf("%q is cut to %q", text, one)
		}
	})
}

func TestColumnsFitATerminal(t *testing.T) {
	rows := [][]cell{plain("NAME", "MEANING"), plain("a", strings.Repeat("word ", 20)), plain("long-name", "short")}
	for width, want := range map[int]string{
		0:  "NAME       MEANING\na          " + strings.TrimSpace(strings.Repeat("word ", 20)) + "\nlong-name  short\n",
		40: "NAME       MEANING\na          word word word word word word\n           word word word word word word\n           word word word word word word\n           word word\nlong-name  short\n",
	} {
		out := &bytes.Buffer{}
		if err := columns(out, paint{}, rows, width, wrap); err != nil || out.String() != want {
			t.Errorf("width %d: %v\n%swant\n%s", width, err, out, want)
		}
	}
	out := &bytes.Buffer{}
	if err := columns(out, paint{}, rows, 30, cut); err != nil || !strings.Contains(out.String(), "a          word word word word…\n") {
		t.Errorf("%v\n%s", err, out)
	}
}
