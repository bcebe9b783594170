package bus

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Directories of killed processes are removed when they have not been used for long, and nothing
// else is.
func TestSweepStaging(t *testing.T) {
	memory := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"gatewayd-0123456789abcdef": 2 * left, "gatewayd-1123456789abcdef": left / 2, "gatewayd-own4567890abcdef": 2 * left, "gatewayd-2123456789abcdef": 2 * left, "other": 2 * left} {
		dir := filepath.Join(memory, name)
		if err := os.MkdirAll(filepath.Join(dir, "batch"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	sweepStaging(memory, filepath.Join(memory, "gatewayd-2123456789abcdef"), now)
	entries, err := os.ReadDir(memory)
	if err != nil || len(entries) != 4 || entries[0].Name() != "gatewayd-1123456789abcdef" {
		t.Errorf("%v %v", entries, err)
	}
	if dir, err := stagingIn(memory, "stream"); err == nil && filepath.Dir(dir) != memory {
		t.Error(dir)
	}
}
