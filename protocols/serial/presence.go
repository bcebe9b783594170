package serial

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lookAgain limits the delay if no notification arrives, e.g. when only the target of a link comes
// back.
const lookAgain = 300 * time.Millisecond

// Gone reports whether err means that the device is unplugged. Reopening helps once it is back;
// retrying on the same Port does not.
func Gone(err error) bool {
	for _, gone := range []error{unix.EIO, unix.ENXIO, unix.ENODEV, unix.ENOENT, io.EOF} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// Appeared waits until path exists and, if it is a link, its target exists too. It returns nil, or
// the error of ctx. A re-plugged port is noticed within milliseconds if its directory can be watched
// by inotify, otherwise within 300 ms: the kernel limits the number of watches, and the directory may
// be unreadable.
func Appeared(ctx context.Context, path string) error {
	if present(path) {
		return nil
	}
	if err := notified(ctx, path); err == nil || ctx.Err() != nil {
		return err
	}
	return Until(ctx, func() bool { return present(path) })
}

// notified is Appeared by inotify. Any error but that of ctx means that inotify does not work here.
func notified(ctx context.Context, path string) error {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	notices := os.NewFile(uintptr(fd), "inotify")
	defer notices.Close()
	raw, err := notices.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { notices.Close() })()
	buf := make([]byte, 4096)
	for {
		// The directory is removed with its last link, so the nearest existing one is watched anew
		// each time.
		closed := raw.Control(func(fd uintptr) { err = watchNearest(int(fd), filepath.Dir(path)) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := errors.Join(closed, err); err != nil {
			return err
		}
		if present(path) {
			return nil
		}
		_ = notices.SetReadDeadline(time.Now().Add(lookAgain))
		if _, err := notices.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

func present(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// watchNearest watches dir or its nearest existing parent. Watching a directory again is harmless.
func watchNearest(fd int, dir string) error {
	for {
		_, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ATTRIB|unix.IN_ONLYDIR)
		parent := filepath.Dir(dir)
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) || parent == dir {
			return err
		}
		dir = parent
	}
}
