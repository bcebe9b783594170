package serial

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// watch is how one direction of a port is waited for. A descriptor that sits in the runtime poller wakes the process for every byte,
// whether or not anybody reads, and a UART delivers an answer in dozens of pieces. So the port is in an epoll instance of its own, which
// is in the runtime poller, and is armed only while a call waits.
type watch struct {
	file   *os.File // the epoll instance
	raw    syscall.RawConn
	events uint32 // what is waited for
	port   int32  // the port's descriptor
}

func newWatch(port int, events uint32) (*watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	// A descriptor gets into the runtime poller if it does not block, which means nothing else to an epoll instance.
	if err := errors.Join(unix.SetNonblock(fd, true), unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, port, &unix.EpollEvent{Fd: int32(port)})); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll: %w", err), unix.Close(fd))
	}
	w := &watch{file: os.NewFile(uintptr(fd), "epoll"), events: events, port: int32(port)}
	if w.raw, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	return w, nil
}

// until calls try until it says that it is done, whenever the port may be ready. It gives up at the read deadline of file with
// os.ErrDeadlineExceeded and with os.ErrClosed when file is closed.
func (w *watch) until(try func() (done bool)) error {
	armed, failed := false, error(nil)
	err := w.raw.Read(func(fd uintptr) bool {
		if try() {
			return true
		}
		if armed {
			return false
		}
		// What came before the arming may be told to nobody: an item that is still in the ready list from the last time, and has been
		// read empty since, is not reported anew. Hence one more try.
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

// arm says what of the port's readiness is told from now on.
func (w *watch) arm(fd uintptr, events uint32) error {
	if err := unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, int(w.port), &unix.EpollEvent{Events: events, Fd: w.port}); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}
