package serial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Timer waits with a precision of about 50 µs; the timers of the runtime round to a millisecond. It
// is a timerfd in the runtime poller, so a waiting goroutine does not occupy a thread. One
// goroutine may wait at a time; Set may be called by any.
type Timer struct {
	file *os.File
	raw  syscall.RawConn
	buf  [8]byte
}

// NewTimer returns a Timer, which holds one descriptor until Close.
func NewTimer() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("timer: %w", err)
	}
	t := &Timer{file: os.NewFile(uintptr(fd), "timerfd")}
	if t.raw, err = t.file.SyscallConn(); err != nil {
		t.file.Close()
		return nil, fmt.Errorf("timer: %w", err)
	}
	return t, nil
}

// Wait waits for d and returns nil, at once if d is not positive. If ctx ends first, it returns the
// error of ctx. After Close it returns os.ErrClosed.
func (t *Timer) Wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	if err := t.Set(d); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return t.Expired()
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = t.Set(0)
		close(woken)
	})
	err := t.Expired()
	if !stop() {
		<-woken // otherwise its Set could end the next Wait
		return ctx.Err()
	}
	return err
}

// Set makes Expired return after d, at once if d is not positive. It replaces the previous setting,
// also for an Expired that is already waiting.
func (t *Timer) Set(d time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(d), 1))}
	var err error
	if t.raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) }) != nil {
		return fmt.Errorf("timer: %w", os.ErrClosed)
	}
	if err != nil {
		return fmt.Errorf("timer: set %v: %w", d, err)
	}
	return nil
}

// Expired waits for the time last set, forever if none is set.
func (t *Timer) Expired() error {
	_, err := t.file.Read(t.buf[:])
	if errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("timer: %w", os.ErrClosed)
	}
	return err
}

// Close releases the descriptor and ends a waiting call with os.ErrClosed.
func (t *Timer) Close() error { return t.file.Close() }
