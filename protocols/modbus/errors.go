package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	// ErrTimeout: no answer in time. It comes with os.ErrDeadlineExceeded when the request's own timeout ran out, with the context's
	// error when the caller's context ended first. A unit that gives no answer may still have carried out a write.
	ErrTimeout = errors.New("no answer")
	// ErrOwed: not sent, since the unit has not answered an earlier request of the same function on this line and still may (Options.Late).
	// It comes with ErrTimeout, but says nothing new about the unit: it should not be counted as another failure.
	ErrOwed = errors.New("an earlier answer may still come")
	// ErrCorrupt: something came, but no frame with a good checksum.
	ErrCorrupt = errors.New("corrupt answer")
	// ErrMismatch: a good frame came, but it answers something else (another unit, function, length or echo).
	ErrMismatch = errors.New("answer to something else")
	// ErrMisfit: the unit has answered the function it was asked, but not as it must: another length, count or echo. It is an ErrMismatch.
	ErrMisfit error = misfit{}
	// ErrBroadcast: not sent, for it asks all units of a line for something.
	ErrBroadcast = errors.New("a broadcast (unit 0) is never answered, so nothing can be read by it")
)

type misfit struct{}

func (misfit) Error() string        { return "answer that does not fit the request" }
func (misfit) Is(target error) bool { return target == ErrMismatch }

// LinkLost says whether err means that the connection or port is dead or its byte stream can no longer be trusted: it must be closed and
// a new Link made over a new one. The Link refuses every further request by itself.
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

// NotSent says whether err promises that no byte of the request went out, so that even a write may be sent again. Where it is false
// nothing is known, unless a unit has answered.
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
		err = context.DeadlineExceeded // the context's own timer is about to say so
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w within %v: %w", ErrTimeout, after, os.ErrDeadlineExceeded)
}
