package serial

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch waits for the readiness of a port in one direction. A descriptor in the runtime poller
// wakes the process for every byte, even if nobody is reading, and a UART delivers an answer in
// dozens of pieces. So the port is in an epoll instance of its own, which is in the runtime poller,
// and is armed only while a call waits.
type watch struct {
	file   *os.File // the epoll instance
	raw    syscall.RawConn
	events uint32 // events to wait for
	port   int32  // the port's descriptor
}

func newWatch(port int, events uint32) (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// The runtime poller accepts only non-blocking descriptors. For an epoll instance that has no
	// other effect.
	if err := errors.Join(unix.SetNonblock(fd, true), unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, port, &unix.EpollEvent{Fd: int32(port)})); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(fd))
	}
	w := &watch{file: os.NewFile(uintptr(fd), "epoll"), events: events, port: int32(port)}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	return w, nil
}

// until calls try whenever the port may be ready, until try returns true. It returns
// os.ErrDeadlineExceeded at the read deadline of file and os.ErrClosed when file is closed.
func (w *watch) until(try func() (done bool)) error {
	armed, failed := false, error(nil)
	err := w.raw.Read(func(fd uintptr) bool {
		if try() {
			return true
		}
		if armed {
			return false
		}
		// Data that arrived before the arming may not be reported: an item that is still in the
		// ready list from last time, and has been read empty since, is not reported again. So try
		// once more.
		armed, failed = true, w.arm(fd, w.events)
		return failed != nil || try()
	})
	if armed {
		_ = w.raw.Control(func(fd uintptr) { _ = w.arm(fd, 0) })
	}
	switch {
	case err == nil:
		return failed
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.ErrDeadlineExceeded
	}
	return os.ErrClosed
}

// arm sets the events that are reported from now on.
func (w *watch) arm(fd uintptr, events uint32) error {
	if err := unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, int(w.port), &unix.EpollEvent{Events: events, Fd: w.port}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}
