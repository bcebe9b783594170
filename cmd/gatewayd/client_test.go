package main

import (
	"io/fs"
	"strings"
	"testing"
)

// Who may not look into a data directory is told that, and not that no gateway runs.
func TestDataDirectoryThatTellsNothing(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrPermission: "may not be read by this user",
		fs.ErrNotExist:   "no gateway runs with this data directory",
	} {
		wrapped := &fs.PathError{Op: "stat", Path: "data/bus.url", Err: err}
		if got := noAddress("data", wrapped).Error(); !strings.HasPrefix(got, "--data data") || !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
