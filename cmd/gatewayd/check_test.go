package main

import (
	"flag"
	"os"
	"testing"

	"gatewayd/cmd/gatewayd/files"
)

var update = flag.Bool("update", false, "write what is found beside testdata/config/*.toml")

// Configs that can never work are refused before anything starts, with all problems at once.
func TestConfigsThatCannotWork(t *testing.T) {
	text, err := os.ReadFile("testdata/config/cannot.toml")
	if err != nil {
		t.Fatal(err)
	}
	_, problems := files.Kinds(kinds).Parse("cannot.toml", text)
	got := problems.Format() + "\n"
	if *update {
		if err := os.WriteFile("testdata/config/cannot.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/config/cannot.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
