package modbus

import (
	"bytes"
	"errors"
	"time"
)

// frame removes the first end bytes. The bytes from start on are a frame; those before it are not.
func (in *input) frame(at time.Time, m Mark, start, end int) {
	if in.tap != nil {
		in.skip(at, start)
		in.tap.came(at, m, in.buf[start:end])
	}
	in.consume(end)
}

// drop removes the first n bytes, which are not a frame.
func (in *input) drop(n int) {
	if in.tap != nil {
		in.skip(time.Now(), n)
	}
	in.consume(n)
}

func (in *input) skip(at time.Time, n int) {
	if in.told < n {
		b := in.buf[in.told:n]
		in.tap.came(at, in.tap.resemblance(b), b)
	}
}

// tell reports to the tap the bytes received so far, to which more may still be added.
func (in *input) tell(m Mark) {
	if in.tap != nil && in.told < in.n {
		in.tap.came(time.Now(), m, in.buf[in.told:in.n])
		in.told = in.n
	}
}

// resemblance returns what bytes that are not a valid frame may have been.
func (t *Tap) resemblance(b []byte) Mark {
	switch framing := t.Framing(); {
	case framing.ascii():
		if bytes.HasPrefix(b, []byte(":")) && bytes.HasSuffix(b, []byte("\r\n")) {
			return BadChecksum
		}
	case framing != TCP && len(b) > 3:
		if n := rtuAnswerSize(b); n == len(b) {
			return BadChecksum
		} else if n > len(b) {
			return Short
		}
	}
	return Noise
}

// other classifies a valid frame, from the unit to the end of the PDU, that is not the answer.
func (l *Link) other(body []byte) Mark {
	if l.owed.came(body) {
		return Late
	}
	return Stray
}

// ended reports a failed transaction to the tap.
func (l *Link) ended(r Request, err error) {
	if l.opts.Tap == nil {
		return
	}
	if silentEnd(err) {
		l.opts.Tap.happened(time.Now(), Silent, r.Unit, r.Function)
	}
	if LinkLost(err) {
		l.opts.Tap.happened(time.Now(), Lost, 0, 0)
	}
}

// silentEnd reports whether err says that the request was sent and no answer had arrived when the
// wait ended.
func silentEnd(err error) bool {
	return errors.Is(err, ErrTimeout) && !NotSent(err) && !errors.Is(err, ErrCorrupt)
}

// seen returns the current time if there is a tap.
func (l *Link) seen() time.Time {
	if l.opts.Tap == nil {
		return time.Time{}
	}
	return time.Now()
}

// wrote reports to the tap how many bytes of a frame the conn accepted.
func (l *Link) wrote(at time.Time, adu []byte, n int) {
	if l.opts.Tap == nil || n <= 0 {
		return
	}
	m := Good
	if n < len(adu) {
		m = Cut
	}
	l.opts.Tap.sent(at, m, adu[:n])
}
