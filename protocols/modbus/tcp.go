package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// maxOwedTCP is the number of unanswered transactions remembered per connection. A gateway with
// dead units behind it leaves many.
const maxOwedTCP = 256

// idle is the pause after which a connection is checked before it is used. Checking it in
// back-to-back transactions would cost a tenth of each.
const idle = 5 * time.Millisecond

// sendTCP carries out one MBAP transaction. Answers are matched by transaction id. A stream with
// unexplained content is lost.
func (l *Link) sendTCP(ctx context.Context, adu []byte) ([]byte, error) {
	begin := time.Now()
	deadline := sooner(ctx, begin.Add(l.request.Timeout))
	if err := l.arm(ctx, begin, deadline); err != nil {
		return nil, l.unready(ctx, err)
	}
	if l.request.Write() || l.rx.raw != nil && begin.Sub(l.quiet) > idle {
		// Detect here that the peer has closed the connection, so that the request is known not to
		// be sent.
		if _, err := l.rx.poll(); err != nil {
			return nil, &lostError{notSent(err)}
		}
		if l.rx.raw == nil { // poll has set another deadline
			if err := l.readUntil(ctx, deadline); err != nil {
				return nil, l.unready(ctx, err)
			}
		}
	}
	if err := l.put(ctx, adu, begin, deadline); err != nil {
		return nil, err
	}
	for {
		body, err := l.takeTCP()
		if body != nil || err != nil {
			return body, err
		}
		if err := l.rx.fill(); err != nil && !l.early(ctx, err, deadline) {
			return nil, l.silentTCP(ctx, err)
		}
	}
}

// arm sets the read deadline, unless one is set already that is neither too late nor too early.
// Setting one for each transaction would cost some hundredth of a transaction with a fast device.
// When a read times out, early tells whether the deadline was the real one.
func (l *Link) arm(ctx context.Context, now, deadline time.Time) error {
	if l.rx.raw != nil && !l.armed.After(deadline) && l.armed.Sub(now) > deadline.Sub(now)/2 {
		return ctx.Err()
	}
	l.armed = deadline
	return l.readUntil(ctx, deadline)
}

// early reports whether err is only the expiry of an earlier deadline, and if so sets the real one.
func (l *Link) early(ctx context.Context, err error, deadline time.Time) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) || !l.armed.Before(deadline) || ctx.Err() != nil {
		return false
	}
	l.armed = deadline
	return l.readUntil(ctx, deadline) == nil
}

// put sends the request and, where both can be done in one call, reads once.
func (l *Link) put(ctx context.Context, adu []byte, begin, deadline time.Time) error {
	if l.rx.raw == nil || l.rx.n > 0 {
		return l.write(ctx, adu, deadline)
	}
	sent, err := l.rx.exchange(adu)
	if sent == 0 && err != nil && l.early(ctx, err, deadline) { // this process has stood still since arm
		sent, err = l.rx.exchange(adu)
	}
	l.wrote(begin, adu, sent)
	switch {
	case sent == len(adu) && err != nil && !l.early(ctx, err, deadline):
		return l.silentTCP(ctx, err)
	case sent == len(adu):
		return nil
	case err == nil && sent == 0: // the send buffer is full
		return l.write(ctx, adu, deadline)
	case err == nil:
		err = fmt.Errorf("%d of %d bytes were taken", sent, len(adu))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return notSent(noAnswer(ctx, 0))
	}
	return &lostError{fmt.Errorf("write: %w", err)}
}

// unready returns the error for a request that was not begun.
func (l *Link) unready(ctx context.Context, err error) error {
	if !LinkLost(err) {
		err = noAnswer(ctx, 0)
	}
	return notSent(err)
}

// silentTCP classifies a read error that occurred while the answer was awaited.
func (l *Link) silentTCP(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return &lostError{fmt.Errorf("read: %w", err)}
	}
	err = noAnswer(ctx, l.request.Timeout)
	if l.rx.n > 0 {
		l.rx.tell(Short)
		return &lostError{fmt.Errorf("%w (%d bytes of a frame came: %w)", err, l.rx.n, ErrCorrupt)}
	}
	l.owed.forgo(l.transaction)
	return err
}

// takeTCP takes complete frames from the input until one is the transaction's answer, and returns
// its bytes from the unit on.
func (l *Link) takeTCP() ([]byte, error) {
	for {
		frame, err := splitTCP(l.rx.bytes())
		if err != nil {
			l.rx.tell(Noise)
			return nil, &lostError{fmt.Errorf("%w: %w", ErrCorrupt, err)}
		}
		if frame == nil {
			return nil, nil
		}
		if id := binary.BigEndian.Uint16(frame); id != l.transaction {
			if !l.owed.settle(id) {
				l.rx.tell(Stray)
				return nil, &lostError{fmt.Errorf("%w: got transaction %d instead of %d", ErrMismatch, id, l.transaction)}
			}
			l.rx.frame(l.seen(), Late, 0, len(frame))
			continue
		}
		l.whole = slices.Clone(frame)
		body := l.whole[6:]
		l.quiet = time.Now()
		err = l.want.judge(body)
		l.rx.frame(l.quiet, judged(err), 0, len(frame))
		return body, err
	}
}

func judged(err error) Mark {
	if err != nil {
		return Stray
	}
	return Good
}

// judge returns why body, which arrived with the right transaction id, is not the answer. A length
// in the header that the PDU contradicts costs the connection.
func (w want) judge(body []byte) error {
	if w.accepts(body) {
		return nil
	}
	if n, whole := answerSize(body[1:]); !whole || n != len(body)-1 {
		return &lostError{w.mismatch(body)}
	}
	return w.mismatch(body)
}

// mismatch describes a valid frame (from the unit to the end of the PDU) that is not the answer.
func (w want) mismatch(body []byte) error {
	what := ErrMismatch
	if body[0] == w.unit && body[1] == w.function {
		what = ErrMisfit
	}
	return fmt.Errorf("%w: unit %d function %d with %d bytes", what, body[0], body[1], len(body)-1)
}

// splitTCP returns the first MBAP frame of b, or nil if it is not complete yet. The header is
// checked as soon as it has arrived.
func splitTCP(b []byte) ([]byte, error) {
	if len(b) >= 4 && (b[2] != 0 || b[3] != 0) {
		return nil, fmt.Errorf("protocol %d in the header is not Modbus", binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < 6 {
		return nil, nil
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	if n < 2 || n > 254 {
		return nil, fmt.Errorf("length %d in the header is not within 2..254", n)
	}
	if len(b) < 6+n {
		return nil, nil
	}
	return b[:6+n], nil
}
