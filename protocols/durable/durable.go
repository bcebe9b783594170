// Package durable writes small files so that a power cut at any moment leaves the old or the new
// content, and so that damage is detected.
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

// Write replaces a file. If it returns nil, the new content is on disk. After an error the file has
// the old content, or the complete new one if only the last sync, that of the directory, failed.
func Write(path string, content []byte, mode fs.FileMode) (err error) {
	// Readable by the owner only until it is complete.
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
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

// ModeOf returns the mode of a file, or 0600 if it does not exist.
func ModeOf(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o600
}

// Rename moves a synced file over another one in the same directory. If it returns nil, the change
// is on disk; after an error it may or may not have been made.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// MkdirAll creates a directory and its missing parents. If it returns nil, all directories it has
// created are on disk.
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

// ErrDamaged is returned for a file that exists but is corrupt.
var ErrDamaged = errors.New("damaged")

// MaxSealed is the largest file that Load reads, in bytes.
const MaxSealed = 2 << 20

// sealed is the format of a file written by Save: a JSON object, so that people and jq can read it,
// with the hash of the exact bytes of content.
type sealed struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

// Seal returns v as JSON with its hash.
func Seal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	raw, err := json.Marshal(sealed{hex.EncodeToString(sum[:]), content})
	return append(raw, '\n'), err
}

// Unseal reverses Seal. It returns ErrDamaged for anything that does not verify.
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

// Save replaces a file by v, sealed, in the same way as Write.
func Save(path string, v any, mode fs.FileMode) error {
	raw, err := Seal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	return Write(path, raw, mode)
}

// Load reads a file written by Save into v. It returns fs.ErrNotExist, ErrDamaged or an error of
// the disk.
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

// SetAside renames a damaged file to <path>.damaged for later inspection; only the last one is
// kept.
func SetAside(path string) (to string, err error) {
	to = path + ".damaged"
	return to, os.Rename(path, to)
}
