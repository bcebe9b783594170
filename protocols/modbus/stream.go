package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// sendStream carries one RTU or ASCII frame over a stream. There is neither silence nor a transaction id to tell a late answer by: whatever
// is not exactly the answer, or does not come in time, costs the connection.
func (l *Link) sendStream(ctx context.Context, adu []byte) ([]byte, error) {
	deadline := sooner(ctx, time.Now().Add(l.request.Timeout))
	if err := l.readUntil(ctx, deadline); err != nil {
		return nil, l.unready(ctx, err)
	}
	if came, err := l.rx.poll(); err != nil {
		return nil, &lostError{notSent(err)}
	} else if came || l.rx.n > 0 {
		return nil, &lostError{notSent(fmt.Errorf("%w: %d bytes nobody asked for", ErrMismatch, l.rx.n))}
	}
	if err := l.write(ctx, adu, deadline); err != nil {
		return nil, err
	}
	if l.request.Unit == 0 {
		if err := l.opts.Timer.Wait(ctx, l.opts.Turnaround); err != nil {
			return nil, fmt.Errorf("after the broadcast was sent: %w", err)
		}
		return nil, errBroadcast
	}
	if err := l.readUntil(ctx, deadline); err != nil {
		return nil, &lostError{noAnswer(ctx, 0)}
	}
	for {
		if err := l.rx.fill(); err != nil {
			return nil, &lostError{l.silentStream(ctx, err)}
		}
		answer, err := l.takeStream()
		if answer != nil || err != nil {
			return answer, err
		}
	}
}

func (l *Link) silentStream(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("read: %w", err)
	}
	err = noAnswer(ctx, l.request.Timeout)
	if l.rx.n > 0 {
		return fmt.Errorf("%w (%d bytes came: %w)", err, l.rx.n, ErrCorrupt)
	}
	return err
}

func (l *Link) takeStream() ([]byte, error) {
	b := l.rx.bytes()
	frame, body, end := l.find()
	switch {
	case frame == nil && (end > 0 || l.missing() <= 0):
		return nil, &lostError{errSpoilt}
	case frame == nil:
		return nil, nil
	case !l.want.accepts(body):
		return nil, &lostError{l.mismatch(body)}
	case len(frame) != len(b):
		return nil, &lostError{fmt.Errorf("%w: %d bytes where the answer has %d", ErrMismatch, len(b), len(frame))}
	}
	answer := slices.Clone(frame)
	l.rx.consume(end)
	return answer, nil
}
