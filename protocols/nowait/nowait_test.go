package nowait_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"gatewayd/protocols/nowait"
)

func pair(t *testing.T) (a, b uintptr) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = syscall.Close(fds[0]), syscall.Close(fds[1]) })
	return uintptr(fds[0]), uintptr(fds[1])
}

func TestReadsWhatWasWritten(t *testing.T) {
	a, b := pair(t)
	if n, err := nowait.Write(a, []byte("reading")); n != 7 || err != nil {
		t.Fatalf("%d bytes are written: %v", n, err)
	}
	room := make([]byte, 16)
	if n, err := nowait.Read(b, room); string(room[:n]) != "reading" || err != nil {
		t.Errorf("%q is read: %v", room[:n], err)
	}
}

func TestWaitsForNothing(t *testing.T) {
	a, b := pair(t)
	if n, err := nowait.Read(b, make([]byte, 1)); n != 0 || err != syscall.EAGAIN {
		t.Errorf("of nothing %d bytes are read: %v", n, err)
	}
	much, sent := []byte(strings.Repeat("x", 64<<10)), 0
	var err error
	for err == nil {
		var n int
		n, err = nowait.Write(a, much)
		sent += n
	}
	if err != syscall.EAGAIN || sent == 0 {
		t.Errorf("after %d bytes there is room: %v", sent, err)
	}
}

func TestTellsTheEnd(t *testing.T) {
	a, b := pair(t)
	if err := syscall.Shutdown(int(a), syscall.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if n, err := nowait.Read(b, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("at the end %d bytes are read: %v", n, err)
	}
	if _, err := nowait.Write(b, []byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("to nobody is written: %v", err)
	}
}
