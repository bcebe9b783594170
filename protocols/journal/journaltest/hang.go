// Package journaltest simulates a disk that hangs, for tests of package journal and its users.
package journaltest

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Hang makes the first open of a file in dir from now on wait until back is called or the test
// ends. hanging is closed when that open waits.
func Hang(t testing.TB, dir string) (hanging <-chan struct{}, back func()) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY)
	if err != nil {
		t.Fatalf("fanotify (run as root): %v", err)
	}
	watch := os.NewFile(uintptr(fd), "fanotify")
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, dir); err != nil {
		t.Fatalf("fanotify: %v", err)
	}
	allow := func(opened int32) {
		_, _ = watch.Write(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(opened)), unix.FAN_ALLOW))
		_ = unix.Close(int(opened))
	}
	held, hung := int32(-1), make(chan struct{})
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := watch.Read(b)
			if err != nil {
				return
			}
			for at := 0; at < n; at += int(binary.NativeEndian.Uint32(b[at:])) {
				if opened := int32(binary.NativeEndian.Uint32(b[at+16:])); held >= 0 {
					allow(opened)
				} else {
					held = opened
					close(hung)
				}
			}
		}
	}()
	back = sync.OnceFunc(func() {
		select {
		case <-hung:
			allow(held)
		default:
		}
	})
	t.Cleanup(func() {
		back()
		_ = watch.Close() // the kernel lets all others continue
	})
	return hung, back
}
