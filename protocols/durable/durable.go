// Package durable keeps small files that a power cut at any instant leaves as they were or as they were to be, and in which damage shows.
package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Write replaces a file. When it returns nil the new content is on disk; in all other cases the old one still is.
func Write(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // for its owner only, until it is whole
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return Rename(f.Name(), path)
}

// ModeOf is the mode of a file; that of a new one, which is its owner's only, if it is not there.
func ModeOf(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o600
}

// Rename puts a synced file in the place of another one in the same directory. When it returns nil it stands there on disk as well.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// MkdirAll makes a directory and those above it that are not there. When it returns nil all of them are on disk, if they were made here.
func MkdirAll(path string, mode fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := MkdirAll(above, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	} else if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	return syncDir(above)
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ErrDamaged marks a file that is there and cannot be trusted.
var ErrDamaged = errors.New("damaged")

// MaxSealed bounds what Load reads, in bytes.
const MaxSealed = 2 << 20

// sealed is the content of a file of Save: one JSON object, so that people and jq can read it, and the sum of the exact bytes inside.
type sealed struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

// Seal is v as JSON with its sum.
func Seal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	raw, err := json.Marshal(sealed{hex.EncodeToString(sum[:]), content})
	return append(raw, '\n'), err
}

// Unseal is the reverse; whatever does not verify is ErrDamaged.
func Unseal(raw []byte, v any) error {
	var s sealed
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	want, err := hex.DecodeString(s.SHA256)
	sum := sha256.Sum256(s.Content)
	if err != nil || !bytes.Equal(want, sum[:]) {
		return fmt.Errorf("%w: the sum does not match", ErrDamaged)
	}
	if err := json.Unmarshal(s.Content, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// Save replaces a file by v, sealed, as Write does.
func Save(path string, v any, mode fs.FileMode) error {
	raw, err := Seal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return Write(path, raw, mode)
}

// Load reads what Save has written into v. Its errors are fs.ErrNotExist, ErrDamaged or one of the disk.
func Load(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, MaxSealed+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err) // a bad sector reads as EIO
	}
	if len(raw) > MaxSealed {
		return fmt.Errorf("%w: larger than %d bytes", ErrDamaged, MaxSealed)
	}
	return Unseal(raw, v)
}

// SetAside keeps a damaged file for a look later, as <path>.damaged; only the last one is kept.
func SetAside(path string) (to string, err error) {
	to = path + ".damaged"
	return to, os.Rename(path, to)
}
