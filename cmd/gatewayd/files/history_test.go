package files

import (
	"os"
	"path/filepath"
	"testing"
)

// A version number that was assigned to a text which could not be stored is not assigned to another
// text.
func TestVersionsAreGivenOnce(t *testing.T) {
	dir := t.TempDir()
	s := NewSource(nil, filepath.Join(dir, "gateway.toml"), dir)
	keep := func(text string, want uint64, fails bool) {
		t.Helper()
		if got, err := s.Keep([]byte(text)); got != want || (err != nil) != fails {
			t.Errorf("%s is version %d, want %d: %v", text, got, want, err)
		}
	}
	keep("a", 1, false)
	keep("a", 1, false)
	keep("b", 2, false)
	full := s.dir + ".full"
	if err := os.Rename(s.dir, full); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.dir, nil, 0o600); err != nil { // a directory cannot be made here
		t.Fatal(err)
	}
	keep("c", 3, true)
	keep("c", 3, true)
	keep("d", 4, true)
	if err := os.Remove(s.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(full, s.dir); err != nil {
		t.Fatal(err)
	}
	keep("d", 4, false)
	keep("d", 4, false)
	keep("b", 5, false)
	versions, err := s.Versions()
	if err != nil || len(versions) != 4 || versions[0].Version != 5 || versions[1].Toml != "d" || versions[3].Toml != "a" {
		t.Errorf("%v, %v", versions, err)
	}
}

func TestRejectedIsPutBesideTheFile(t *testing.T) {
	dir := t.TempDir()
	s := NewSource(nil, filepath.Join(dir, "gateway.toml"), dir)
	if _, _, err := s.Reject(); err == nil {
		t.Error("there is no file")
	}
	if err := os.WriteFile(s.file, []byte("# mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	file, beside, err := s.Reject()
	if err != nil || file != s.file || beside != s.file+".rejected" {
		t.Fatal(file, beside, err)
	}
	text, err := os.ReadFile(beside)
	info, statErr := os.Stat(beside)
	if err != nil || statErr != nil || string(text) != "# mine\n" || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, %v: %v, %v", text, info, err, statErr)
	}
}
