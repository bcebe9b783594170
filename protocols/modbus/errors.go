package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	// ErrTimeout: no answer in time. It is joined with os.ErrDeadlineExceeded if the request's own
	// timeout expired, and with the context's error if the caller's context ended first. A unit
	// that does not answer may still have carried out a write.
	ErrTimeout = errors.New("no answer")
	// ErrOwed: the request was not sent, because the unit has not answered an earlier request with
	// the same function on this line and may still do so (Options.Late). It is joined with
	// ErrTimeout, but says nothing new about the unit and should not be counted as another failure.
	ErrOwed = errors.New("an earlier answer may still come")
	// ErrCorrupt: bytes were received, but no frame with a correct checksum.
	ErrCorrupt = errors.New("corrupt answer")
	// ErrMismatch: a valid frame was received, but it answers something else (another unit,
	// function, length or echo).
	ErrMismatch = errors.New("answer to something else")
	// ErrMisfit: the unit answered with the requested function, but the length, count or echo is
	// wrong. It is an ErrMismatch.
	ErrMisfit error = misfit{}
	// ErrBroadcast: the request was not sent, because it is a broadcast of a function that reads.
	ErrBroadcast = errors.New("a broadcast (unit 0) is never answered: it cannot read")
)

type misfit struct{}

func (misfit) Error() string        { return "answer that does not fit the request" }
func (misfit) Is(target error) bool { return target == ErrMismatch }

// LinkLost reports whether err means that the connection or port is dead, or that its byte stream
// can no longer be trusted. The conn must then be closed and a new Link made over a new one. The
// Link itself refuses all further requests.
func LinkLost(err error) bool {
	if err == nil {
		return false
	}
	var l *lostError
	return errors.As(err, &l)
}

type lostError struct{ err error }

func (l *lostError) Error() string { return "link lost: " + l.err.Error() }
func (l *lostError) Unwrap() error { return l.err }

// NotSent reports whether err guarantees that no byte of the request was sent, so that even a write
// may be repeated. If it is false, the request may or may not have been carried out, unless a unit
// has answered.
func NotSent(err error) bool {
	var u *unsentError
	return errors.As(err, &u)
}

type unsentError struct{ err error }

func (u *unsentError) Error() string { return u.err.Error() }
func (u *unsentError) Unwrap() error { return u.err }

func notSent(err error) error { return &unsentError{fmt.Errorf("not sent: %w", err)} }

func noAnswer(ctx context.Context, after time.Duration) error {
	err := ctx.Err()
	if d, ok := ctx.Deadline(); ok && err == nil && !time.Now().Before(d) {
		err = context.DeadlineExceeded // the context's own timer is about to fire
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w within %v: %w", ErrTimeout, after, os.ErrDeadlineExceeded)
}
