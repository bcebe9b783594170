package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gatewayd/protocols/durable"
)

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a")
	if mode := durable.ModeOf(file); mode != 0o600 {
		t.Errorf("a new file has %v", mode)
	}
	for _, text := range []string{"first", "", "third"} {
		if err := durable.Write(file, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text || durable.ModeOf(file) != 0o640 {
			t.Errorf("read %q with %v, %v", got, durable.ModeOf(file), err)
		}
	}
	if all, err := os.ReadDir(filepath.Dir(file)); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
}

// A failed write leaves nothing behind.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	if err := os.MkdirAll(filepath.Join(file, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Write(file, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
	if err := durable.Write(filepath.Join(dir, "none", "a"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is no directory: %v", err)
	}
}

// A flipped bit or a missing end is detected, or changes nothing.
func TestLoadDamaged(t *testing.T) {
	type content struct{ Names []string }
	file := filepath.Join(t.TempDir(), "a")
	if err := durable.Load(file, &content{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if err := durable.Save(file, content{[]string{"anna", "berta"}}, 0o600); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	load := func(raw []byte) ([]string, error) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		var c content
		err := durable.Load(file, &c)
		return c.Names, err
	}
	for i := range whole {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 1 << (i % 8)
		if got, err := load(flipped); err == nil && (len(got) != 2 || got[0] != "anna" || got[1] != "berta") || err != nil && !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("byte %d flipped: %v, %v", i, got, err)
		}
		if got, err := load(whole[:i]); i < len(whole)-1 && !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("%d bytes: %v, %v", i, got, err)
		}
	}
	if to, err := durable.SetAside(file); err != nil || to != file+".damaged" {
		t.Errorf("set aside to %q, %v", to, err)
	}
	if err := durable.Load(file, &content{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it was set aside: %v", err)
	}
}

// Missing parents are created, and a file in the way is reported.
func TestMkdirAll(t *testing.T) {
	top := t.TempDir()
	deep := filepath.Join(top, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(deep, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() || info.Mode().Perm() != 0o700 {
		t.Error(info, err)
	}
	file := filepath.Join(top, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "a")} {
		if err := durable.MkdirAll(path, 0o700); err == nil {
			t.Errorf("%s is a directory", path)
		}
	}
}
