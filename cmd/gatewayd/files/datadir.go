package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"gatewayd/protocols/durable"
)

const (
	URLFile   = "bus.url"           // file in the data directory with the URL on which the bus listens now
	SystemDir = "/var/lib/gatewayd" // data directory of a gateway run by root
)

// DataDir returns the default of --data.
func DataDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir // set by systemd for StateDirectory=
	}
	if os.Getuid() == 0 {
		return SystemDir
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "gatewayd")
	}
	return "gatewayd-data"
}

// Lock makes sure that only one daemon uses a data directory. The lock lasts until the returned
// file is closed.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	file := filepath.Join(dir, "lock")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(file) // left by an earlier run: a worn-out disk that is read-only does not prevent polling
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("data directory %s is in use by another gatewayd", dir)
	}
	return f, nil
}

// Write replaces a file atomically: after a power cut it has either the old or the new text.
func Write(path string, text []byte) error { return WriteLike(path, path, text) }

// WriteLike is Write with the file mode of like, if like exists.
func WriteLike(like, path string, text []byte) error {
	return durable.Write(path, text, durable.ModeOf(like))
}
