package terminal

import (
	"bytes"
	"testing"
)

func TestFlat(t *testing.T) {
	for in, want := range map[string]string{
		`"a\u001b[31mb"`: "a [31mb", `[1,2]`: "1, 2", `["a","b"]`: "a, b", `{"x":1}`: `{"x":1}`, `null`: "", `1.5`: "1.5", `[]`: "",
	} {
		if got := Flat([]byte(in)); got != want {
			t.Errorf("flat(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestAnswerIsATable(t *testing.T) {
	var out bytes.Buffer
	err := PrintAnswer(&out, []byte(`{"version":"3","changes":[{"path":"a/b","action":"start"},{"path":"c"}],"toml":"a = 1\nb = 2\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "FIELD    VALUE\nversion  3\nchanges:\nPATH  ACTION\na/b   start\nc\ntoml:\na = 1\nb = 2\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1}],"c":"d"}`))
	f.Add([]byte(`{"a":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		if err := PrintAnswer(&out, text); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(out.Bytes(), '\x1b') {
			t.Fatalf("an escape sequence gets to the terminal: %q", out.String())
		}
	})
}
