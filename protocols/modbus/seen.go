package modbus

import (
	"bytes"
	"errors"
	"time"
)

// frame takes the first end bytes out: a frame from start on, and before it what is none.
func (in *input) frame(at time.Time, m Mark, start, end int) {
	if in.tap != nil {
		in.skip(at, start)
		in.tap.came(at, m, in.buf[start:end])
	}
	in.consume(end)
}

// drop takes the first n bytes out, which are no frame.
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

// tell tells the tap of what is there so far, of which more may still come.
func (in *input) tell(m Mark) {
	if in.tap != nil && in.told < in.n {
		in.tap.came(time.Now(), m, in.buf[in.told:in.n])
		in.told = in.n
	}
}

// resemblance is what bytes may have been that are no frame.
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

// other is what a good frame is that is not the answer, from the unit to the end of the PDU.
func (l *Link) other(body []byte) Mark {
	if l.owed.came(body) {
		return Late
	}
	return Stray
}

// ended tells the tap of a transaction that has failed.
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

// silentEnd says of an error that the request went out and no answer was there when waiting ended.
func silentEnd(err error) bool {
	return errors.Is(err, ErrTimeout) && !NotSent(err) && !errors.Is(err, ErrCorrupt)
}

// seen is the time for the tap.
func (l *Link) seen() time.Time {
	if l.opts.Tap == nil {
		return time.Time{}
	}
	return time.Now()
}

// wrote tells the tap how many bytes of a frame the conn has taken.
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
