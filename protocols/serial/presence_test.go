package serial_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/serial"
)

func TestGone(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{&os.PathError{Op: "read", Path: "/dev/ttyUSB0", Err: unix.EIO}, true},
		{fmt.Errorf("port x: open: %w", unix.ENOENT), true},
		{unix.ENXIO, true},
		{unix.ENODEV, true},
		{io.EOF, true},
		{os.ErrNotExist, false}, // not about a device
		{os.ErrClosed, false},
		{os.ErrDeadlineExceeded, false},
		{unix.EBUSY, false},
		{unix.EACCES, false},
		{context.Canceled, false},
	} {
		if got := serial.Gone(c.err); got != c.want {
			t.Errorf("%v: %v", c.err, got)
		}
	}
}

func TestAppeared(t *testing.T) {
	for _, c := range []struct {
		name string
		plug func(dir string) error // creates dir/serial/by-id/port
	}{
		{"file", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "serial/by-id/port"), nil, 0o600)
		}},
		{"renamed link", func(dir string) error {
			by := filepath.Join(dir, "serial/by-id")
			if err := os.Symlink("/dev/null", filepath.Join(by, "new")); err != nil {
				return err
			}
			return os.Rename(filepath.Join(by, "new"), filepath.Join(by, "port"))
		}},
		{"directory was gone", func(dir string) error {
			if err := os.RemoveAll(filepath.Join(dir, "serial")); err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Join(dir, "serial/by-id"), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "serial/by-id/port"), nil, 0o600)
		}},
		{"link before its target", func(dir string) error {
			node := filepath.Join(dir, "ttyUSB0")
			if err := os.Symlink(node, filepath.Join(dir, "serial/by-id/port")); err != nil {
				return err
			}
			return os.WriteFile(node, nil, 0o600)
		}},
	} {
		dir := t.TempDir()
		by := filepath.Join(dir, "serial/by-id")
		if err := os.MkdirAll(by, 0o700); err != nil {
			t.Fatal(err)
		}
		found := make(chan error)
		go func() { found <- serial.Appeared(context.Background(), filepath.Join(by, "port")) }()
		if err := c.plug(dir); err != nil {
			t.Fatal(err)
		}
		if err := <-found; err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestAppearedEndsWithItsContext(t *testing.T) {
	for range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		if err := serial.Appeared(ctx, filepath.Join(t.TempDir(), "absent/port")); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}

// A kernel that allows no further inotify instance, 128 for each user by default, must not keep a
// port away.
func TestAppearedWithoutInotify(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "port")
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	// Without descriptors inotify fails in the same way, for this process only.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }()
	found := make(chan error, 1)
	go func() { found <- serial.Appeared(t.Context(), path) }()
	select {
	case err := <-found:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if err := <-found; err != nil {
		t.Error(err)
	}
}
