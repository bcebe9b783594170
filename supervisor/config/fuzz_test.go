package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"gatewayd/supervisor/config"
)

// Parse never panics, names a line of the text for every problem, in order, and refuses whatever
// the TOML library's own decoder refuses.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tree, problems := config.Parse("plant.toml", text, kinds(), implicit()...)
		if (tree == nil) != (len(problems) > 0) {
			t.Fatalf("tree %v beside %d problems", tree, len(problems))
		}
		lines, last := bytes.Count(text, []byte("\n"))+1, 1
		for _, p := range problems {
			if p.Line < last || p.Line > lines || p.File != "plant.toml" || p.Message == "" {
				t.Fatalf("problem %+v after line %d in %d lines", p, last, lines)
			}
			last = p.Line
		}
		var doc map[string]any
		if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &doc); err != nil && tree != nil {
			t.Fatalf("accepted what is not TOML: %v", err)
		}
	})
}
