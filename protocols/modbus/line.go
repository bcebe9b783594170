package modbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// gap is a pause that ends a burst on a line even behind a USB adapter, which delivers data every
// 16 ms.
const gap = 30 * time.Millisecond

// few is the number of missing bytes up to which a read is used to wait for them instead of a
// timer.
const few = 4

// sendLine carries out one transaction over a serial line.
func (l *Link) sendLine(ctx context.Context, adu []byte) ([]byte, error) {
	if err := l.settle(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := l.write(ctx, adu, sooner(ctx, begin.Add(l.request.Timeout+l.onWire(len(adu))))); err != nil {
		return nil, err
	}
	// Write returns when the bytes are queued; the wire is busy until end.
	end := begin.Add(l.onWire(len(adu)))
	l.quiet = end
	if l.request.Unit == 0 {
		if err := l.opts.Timer.Wait(ctx, time.Until(end)+l.opts.Turnaround); err != nil {
			return nil, fmt.Errorf("after the broadcast was sent: %w", err)
		}
		return nil, nil
	}
	full := end.Add(l.opts.Silence + l.onWire(l.framing.size(l.want.size)))
	answer, err := l.awaitLine(ctx, full)
	if err != nil && !LinkLost(err) {
		l.dirty = true
		if !errors.Is(err, errSpoilt) {
			l.owed.add(l.want, end.Add(l.late()))
		}
	}
	return answer, err
}

func (l *Link) onWire(n int) time.Duration { return time.Duration(n) * l.char }

func (l *Link) late() time.Duration {
	if l.opts.Late > 0 {
		return l.opts.Late
	}
	return 6 * l.request.Timeout
}

// errSpoilt: as many bytes as the answer has were received, but they are corrupt. The unit has
// answered, so no answer is outstanding.
var errSpoilt = fmt.Errorf("%w: bad checksum", ErrCorrupt)

// awaitLine reads until the answer is complete. It sleeps until full, when the answer can be
// complete, instead of waking up for every byte.
func (l *Link) awaitLine(ctx context.Context, full time.Time) ([]byte, error) {
	deadline := full.Add(l.request.Timeout)
	if err := l.sleep(ctx, time.Until(full)+min(l.char/4, 100*time.Microsecond)); err != nil {
		return nil, noAnswer(ctx, 0)
	}
	if err := l.readUntil(ctx, sooner(ctx, deadline)); err != nil {
		return nil, l.silentLine(ctx, false, err)
	}
	mismatch := false
	for {
		err := l.rx.fill()
		if err != nil {
			if body := l.tail(ctx, err); body != nil {
				return body, nil
			}
			if l.endless() && errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) && l.readUntil(ctx, sooner(ctx, deadline)) == nil {
				continue // the pause was not the end of the answer
			}
			return nil, l.silentLine(ctx, mismatch, err)
		}
		l.quiet = time.Now()
		answer, other := l.takeLine()
		if answer != nil {
			return answer, nil
		}
		mismatch = mismatch || other
		missing := l.missing()
		if missing <= 0 || l.endless() {
			// The answer cannot be missing any bytes, or only a pause ends it. Unless more arrives
			// at once, this is all.
			if err := l.readUntil(ctx, sooner(ctx, earlier(deadline, l.quiet.Add(max(gap, l.opts.Silence))))); err != nil {
				return nil, l.silentLine(ctx, mismatch, err)
			}
			continue
		}
		// The bytes read lag behind the wire by what a UART or adapter still holds, so sleeping for
		// all the missing ones would take too long.
		if missing > few {
			if err := l.sleep(ctx, min(l.onWire(missing*3/4), time.Until(deadline))); err != nil {
				return nil, noAnswer(ctx, 0)
			}
		}
	}
}

// sleep waits for the time the wire needs. Short pauses, and lines without timing, are left to
// Read.
func (l *Link) sleep(ctx context.Context, d time.Duration) error {
	if l.char == 0 || d <= 0 {
		return ctx.Err()
	}
	return l.opts.Timer.Wait(ctx, d)
}

// endless reports whether an answer has begun whose end can only be recognised by a pause.
func (l *Link) endless() bool {
	return l.want.raw && !l.framing.ascii() && begunRTU(l.rx.bytes(), l.want)
}

// tail returns such an answer after that pause.
func (l *Link) tail(ctx context.Context, err error) []byte {
	if !l.endless() || ctx.Err() != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	body := slices.Clone(tailRTU(l.rx.bytes(), l.want))
	if body != nil {
		l.rx.frame(l.quiet, Good, l.rx.n-len(body)-2, l.rx.n)
	}
	return body
}

// missing returns the number of bytes still missing from the answer that has begun, or 1 if that is
// unknown.
func (l *Link) missing() int {
	b := l.rx.bytes()
	if !l.framing.ascii() && len(b) >= 2 && b[0] == l.want.unit && b[1] == l.want.function|0x80 {
		return l.framing.size(2) - len(b)
	}
	n, sure := l.want.expect(b)
	if l.framing.ascii() {
		sure = !l.want.open
	}
	missing := l.framing.size(n) - len(b)
	if !sure {
		missing = max(missing, 1)
	}
	return missing
}

// silentLine classifies a read error that occurred while the answer was awaited.
func (l *Link) silentLine(ctx context.Context, mismatch bool, err error) error {
	switch {
	case LinkLost(err):
		return err
	case ctx.Err() == nil && !errors.Is(err, os.ErrDeadlineExceeded):
		return &lostError{fmt.Errorf("read: %w", err)}
	case ctx.Err() != nil:
		return noAnswer(ctx, 0)
	case l.rx.n > 0 && l.missing() <= 0:
		l.rx.tell(BadChecksum)
		return errSpoilt
	case l.rx.n > 0:
		l.rx.tell(Short)
		return fmt.Errorf("%w: %d of %d bytes within %v", ErrCorrupt, l.rx.n, l.rx.n+l.missing(), l.request.Timeout)
	case mismatch:
		return fmt.Errorf("%w within %v", ErrMismatch, l.request.Timeout)
	}
	return noAnswer(ctx, l.request.Timeout)
}

// takeLine takes frames from the input until one is the answer. other reports whether a valid frame
// was something else.
func (l *Link) takeLine() (answer []byte, other bool) {
	for {
		frame, body, end := l.find()
		if frame == nil {
			return nil, other
		}
		if l.want.accepts(body) {
			answer = slices.Clone(body)
			l.rx.frame(l.quiet, Good, end-len(frame), end)
			return answer, other
		}
		l.rx.frame(l.quiet, l.other(body), end-len(frame), end)
		other = true
	}
}

// find returns the first frame in the input with a correct checksum, its bytes from the unit to the
// end of the PDU, and the index after it.
func (l *Link) find() (frame, body []byte, end int) {
	if l.framing.ascii() {
		frame, body, end, _ = findASCII(l.rx.bytes())
		return frame, body, end
	}
	frame, end = findRTU(l.rx.bytes(), l.want)
	if frame == nil {
		return nil, nil, 0
	}
	return frame, frame[:len(frame)-2], end
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
