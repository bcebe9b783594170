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
	URLFile   = "bus.url"           // in the data directory: where the bus listens now
	SystemDir = "/var/lib/gatewayd" // data directory of a gateway that root runs
)

// DataDir is where data goes unless --data says otherwise.
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

// Lock makes sure that only one daemon uses a data directory.
func Lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	file := filepath.Join(dir, "lock")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, syscall.EROFS) {
		f, err = os.Open(file) // of an earlier run: a worn-out disk is no reason not to poll
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

// Write replaces a file so that a power cut leaves the old or the new text.
func Write(path string, text []byte) error { return WriteLike(path, path, text) }

// WriteLike is Write with the mode of another file, if that is there.
func WriteLike(like, path string, text []byte) error {
	return durable.Write(path, text, durable.ModeOf(like))
}
