package peer

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// Cable returns two serial ports that are connected to each other, without delay or loss.
func Cable(t testing.TB) (near, far string) {
	t.Helper()
	var masters [2]*os.File
	var names [2]string
	for i := range masters {
		master, slave, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		masters[i], names[i] = pollable(t, master), slave.Name()
		// Held open: otherwise the port would hang up while nobody has opened it
		t.Cleanup(func() { _ = slave.Close() })
	}
	done := make(chan struct{}, 2)
	for i := range masters {
		go func() {
			_, _ = io.Copy(masters[i], masters[1-i])
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		_, _ = masters[0].Close(), masters[1].Close()
		<-done
		<-done
	})
	return names[0], names[1]
}

// pollable returns f in a form whose Close ends a Read.
func pollable(t testing.TB, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), unix.SetNonblock(fd, true)); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}
