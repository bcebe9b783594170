package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// discarder is a port that can drop received bytes.
type discarder interface{ Discard() error }

// settle makes a line ready for a request: no answer is outstanding that could be mistaken for the
// one to come, nothing unread is left, and the line is silent. It takes at most the request's
// timeout and sends nothing.
func (l *Link) settle(ctx context.Context) error {
	limit := sooner(ctx, time.Now().Add(l.request.Timeout))
	if err := l.fence(ctx, limit); err != nil {
		return notSent(err)
	}
	for {
		if l.dirty {
			if err := l.drain(ctx, limit); err != nil {
				return notSent(err)
			}
		}
		if err := l.opts.Timer.Wait(ctx, time.Until(l.quiet.Add(l.opts.Silence))); err != nil {
			return notSent(noAnswer(ctx, 0))
		}
		found, err := l.discard(ctx)
		if err != nil {
			return notSent(err)
		}
		if !found {
			return nil
		}
		l.dirty = true
	}
}

// fence waits until the answer to an earlier request is no longer expected. If that would exceed
// limit, it fails at once, so as not to delay the other units on the line.
func (l *Link) fence(ctx context.Context, limit time.Time) error {
	for {
		now := time.Now()
		d := l.owed.wait(l.want, now)
		if d <= 0 {
			return nil
		}
		if now.Add(d).After(limit) {
			return fmt.Errorf("%w: %w for %v: %w", ErrTimeout, ErrOwed, d.Round(time.Millisecond), os.ErrDeadlineExceeded)
		}
		if err := l.listen(ctx, now.Add(d)); err != nil {
			return err
		}
	}
}

// drain drops received bytes until the line has been silent for long enough.
func (l *Link) drain(ctx context.Context, limit time.Time) error {
	pause := max(l.opts.Silence, gap)
	last := time.Now()
	for start := last; ; {
		now := time.Now()
		if now.Sub(last) >= pause {
			l.rx.drop(l.rx.n)
			l.dirty = false
			return nil
		}
		if !now.Before(limit) && now.Sub(start) >= pause {
			return fmt.Errorf("%w: the line is not silent", ErrCorrupt)
		}
		before := l.quiet
		if err := l.listen(ctx, last.Add(pause)); err != nil {
			return err
		}
		if l.quiet != before {
			last = l.quiet
		}
	}
}

// listen reads once, until t at most.
func (l *Link) listen(ctx context.Context, t time.Time) error {
	err := l.readUntil(ctx, t)
	if err == nil {
		err = l.rx.fill()
	}
	switch {
	case err == nil:
		l.quiet = time.Now()
		l.note()
		return nil
	case ctx.Err() != nil:
		return noAnswer(ctx, 0)
	case LinkLost(err):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return &lostError{fmt.Errorf("read: %w", err)}
}

// note reports frames that nobody waits for to the tap.
func (l *Link) note() {
	for {
		frame, body, end := l.find()
		if frame == nil {
			return
		}
		l.rx.frame(l.quiet, l.other(body), end-len(frame), end)
	}
}

// discard drops the bytes received so far. found reports whether there were any, which means that
// the line was not silent.
func (l *Link) discard(ctx context.Context) (found bool, err error) {
	if l.rx.raw == nil {
		if d, ok := l.conn.(discarder); ok {
			found = l.rx.n > 0
			l.rx.drop(l.rx.n)
			if err := d.Discard(); err != nil {
				return false, &lostError{fmt.Errorf("discard: %w", err)}
			}
			return found, nil
		}
	}
	if err := l.readUntil(ctx, time.Now().Add(time.Second)); err != nil {
		return false, l.unready(ctx, err)
	}
	came, err := l.rx.poll()
	if err != nil {
		return false, &lostError{err}
	}
	found = came || l.rx.n > 0
	if came {
		l.quiet = time.Now()
		l.note()
	}
	l.rx.drop(l.rx.n)
	return found, nil
}
