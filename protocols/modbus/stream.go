package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// sendStream sends one RTU or ASCII frame over a stream. There is neither silence nor a transaction
// id by which a late answer could be recognised. So anything that is not exactly the answer, or
// does not arrive in time, costs the connection.
func (l *Link) sendStream(ctx context.Context, adu []byte) ([]byte, error) {
	deadline := sooner(ctx, time.Now().Add(l.request.Timeout))
	if err := l.readUntil(ctx, deadline); err != nil {
		return nil, l.unready(ctx, err)
	}
	if came, err := l.rx.poll(); err != nil {
		return nil, &lostError{notSent(err)}
	} else if came || l.rx.n > 0 {
		l.rx.tell(Stray)
		return nil, &lostError{notSent(fmt.Errorf("%w: %d unrequested bytes", ErrMismatch, l.rx.n))}
	}
	if err := l.write(ctx, adu, deadline); err != nil {
		return nil, err
	}
	if l.request.Unit == 0 {
		if err := l.opts.Timer.Wait(ctx, l.opts.Turnaround); err != nil {
			return nil, fmt.Errorf("after the broadcast was sent: %w", err)
		}
		return nil, nil
	}
	if err := l.readUntil(ctx, deadline); err != nil {
		return nil, &lostError{noAnswer(ctx, 0)}
	}
	for {
		if err := l.rx.fill(); err != nil {
			body, err := l.endStream(ctx, err)
			if l.want.raw && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) && l.readUntil(ctx, deadline) == nil {
				continue // the pause was not the end of the answer
			}
			return body, err
		}
		body, err := l.takeStream()
		if body != nil || err != nil {
			return body, err
		}
		if l.want.raw && !l.framing.ascii() {
			// Only a pause marks the end of such an answer.
			if err := l.readUntil(ctx, earlier(deadline, time.Now().Add(gap))); err != nil {
				return nil, &lostError{noAnswer(ctx, 0)}
			}
		}
	}
}

// endStream judges the received bytes when no more arrive.
func (l *Link) endStream(ctx context.Context, err error) ([]byte, error) {
	if b := l.rx.bytes(); l.want.raw && !l.framing.ascii() && errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		if body := tailRTU(b, l.want); len(body)+2 == len(b) && body != nil {
			body = slices.Clone(body)
			l.rx.frame(time.Now(), Good, 0, l.rx.n)
			return body, nil
		}
	}
	err = l.silentStream(ctx, err)
	if l.noneDue(err) {
		return nil, err
	}
	return nil, &lostError{err}
}

func (l *Link) silentStream(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("read: %w", err)
	}
	err = noAnswer(ctx, l.request.Timeout)
	if l.rx.n > 0 {
		l.rx.tell(Short)
		return fmt.Errorf("%w (%d bytes came: %w)", err, l.rx.n, ErrCorrupt)
	}
	return err
}

func (l *Link) takeStream() ([]byte, error) {
	b := l.rx.bytes()
	frame, body, end := l.find()
	switch {
	case frame == nil && (end > 0 || l.missing() <= 0):
		l.rx.tell(BadChecksum)
		return nil, &lostError{errSpoilt}
	case frame == nil:
		return nil, nil
	case !l.want.accepts(body):
		l.rx.tell(Stray)
		return nil, &lostError{l.want.mismatch(body)}
	case len(frame) != len(b):
		l.rx.tell(Stray)
		return nil, &lostError{fmt.Errorf("%w: %d bytes where the answer has %d", ErrMismatch, len(b), len(frame))}
	}
	body = slices.Clone(body)
	l.rx.frame(l.seen(), Good, 0, end)
	return body, nil
}
