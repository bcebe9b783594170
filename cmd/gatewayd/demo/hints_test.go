package demo

import (
	"strings"
	"testing"
)

func TestGoRun(t *testing.T) {
	for _, c := range []struct {
		line string
		args int
		want string
	}{
		{"go run ./cmd/gatewayd demo", 1, "go run ./cmd/gatewayd"},
		{"/usr/local/go/bin/go run -race ./cmd/gatewayd demo --plain", 2, "go run -race ./cmd/gatewayd"},
		{"go test ./cmd/gatewayd", 0, ""},
		{"go run", 0, ""},
		{"bash", 0, ""},
		{"bash -c gatewayd", 1, ""},
		{"", 3, ""},
	} {
		got, ok := goRun(strings.Split(c.line, " "), c.args)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q with %d arguments: %q, %v", c.line, c.args, got, ok)
		}
	}
}
