package watchdog

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
)

// maxFile bounds what is read back: 50 events of 4 KiB, each byte of which may
// take six in JSON, and the rest.
const maxFile = 2 << 20

// errDamaged marks a file that is there and cannot be trusted.
var errDamaged = errors.New("damaged")

// envelope is the content of a file: one JSON object, so that people and jq can
// read it, and the sum of the exact bytes inside.
type envelope struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

// seal encodes a value with its sum.
func seal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(content)
	raw, err := json.Marshal(envelope{hex.EncodeToString(sum[:]), content})
	return append(raw, '\n'), err
}

// unseal is the reverse; whatever does not verify is errDamaged.
func unseal(raw []byte, v any) error {
	var e envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	want, err := hex.DecodeString(e.SHA256)
	sum := sha256.Sum256(e.Content)
	if err != nil || !bytes.Equal(want, sum[:]) {
		return fmt.Errorf("%w: the sum does not match", errDamaged)
	}
	if err := json.Unmarshal(e.Content, v); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// load reads a sealed file: fs.ErrNotExist, errDamaged or an I/O error.
func load(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err) // a bad sector reads as EIO
	}
	if len(raw) > maxFile {
		return fmt.Errorf("%w: larger than %d bytes", errDamaged, maxFile)
	}
	return unseal(raw, v)
}

// setAside keeps a damaged file for a look later; only the last one is kept.
func setAside(path string) (string, error) {
	aside := path + ".damaged"
	return aside, os.Rename(path, aside)
}

// store replaces a file so that a power cut at any point leaves the old content
// or the new one: temporary file, fsync, rename, fsync of the directory.
func store(path string, v any) error {
	raw, err := seal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	temp := path + ".new"
	if err := writeSynced(temp, raw); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if _, err := f.Write(raw); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
