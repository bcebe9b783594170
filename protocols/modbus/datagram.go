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

// sendDatagram carries out one transaction with one datagram in each direction. Datagrams may be
// lost, duplicated, delayed or reordered: a datagram that is not the answer is dropped and the wait
// continues, and a missing answer costs nothing but its time. An MBAP answer is recognised by its
// transaction id. RTU has none, so the answer to another request could be mistaken for this one:
// each request therefore calls the conn's Discard to drop what is still in transit. If the conn has
// no Discard, a missing answer costs the connection.
func (l *Link) sendDatagram(ctx context.Context, adu []byte) ([]byte, error) {
	deadline := sooner(ctx, time.Now().Add(l.request.Timeout))
	fresh, ok := l.conn.(discarder)
	if ok && l.framing != TCP {
		if err := fresh.Discard(); err != nil {
			return nil, &lostError{notSent(err)}
		}
	}
	if err := l.readUntil(ctx, deadline); err != nil {
		return nil, l.unready(ctx, err)
	}
	if err := l.conn.SetWriteDeadline(deadline); err != nil {
		return nil, &lostError{notSent(err)}
	}
	begin := l.seen()
	n, err := l.conn.Write(adu)
	l.wrote(begin, adu, n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, notSent(noAnswer(ctx, l.request.Timeout))
	} else if err != nil {
		// A datagram is sent whole or not at all. The error may be the rejection of an earlier one.
		return nil, &lostError{notSent(fmt.Errorf("write: %w", err))}
	}
	if l.request.Unit == 0 && l.framing != TCP {
		if err := l.opts.Timer.Wait(ctx, l.opts.Turnaround); err != nil {
			return nil, fmt.Errorf("after the broadcast was sent: %w", err)
		}
		return nil, nil
	}
	body, err := l.awaitDatagram(ctx)
	if err != nil && l.framing != TCP && !ok && !LinkLost(err) && !l.noneDue(err) {
		err = &lostError{err}
	}
	return body, err
}

// awaitDatagram reads datagrams until one is the answer or the read deadline expires.
func (l *Link) awaitDatagram(ctx context.Context) ([]byte, error) {
	var strange error // why the last datagram was not the answer
	for {
		n, err := l.conn.Read(l.rx.buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && l.rx.look() {
			n, l.rx.n, err = l.rx.n, 0, nil
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &lostError{fmt.Errorf("read: %w", err)}
		case strange != nil:
			return nil, fmt.Errorf("%w, but %w", noAnswer(ctx, l.request.Timeout), strange)
		default:
			return nil, noAnswer(ctx, l.request.Timeout)
		}
		body, late, err := l.takeDatagram(l.rx.buf[:n])
		l.opts.Tap.came(l.seen(), l.datagramMark(late, err), l.rx.buf[:n])
		if body != nil {
			return slices.Clone(body), nil
		}
		if !late {
			strange = err
		}
	}
}

func (l *Link) datagramMark(late bool, err error) Mark {
	switch {
	case late:
		return Late
	case errors.Is(err, ErrCorrupt) && l.framing == TCP:
		return Noise
	case errors.Is(err, ErrCorrupt):
		return BadChecksum
	case err != nil:
		return Stray
	}
	return Good
}

// takeDatagram returns the answer in a datagram, from the unit to the end of the PDU, or why the
// datagram is not the answer. late is true if it answers an earlier request.
func (l *Link) takeDatagram(b []byte) (body []byte, late bool, err error) {
	if l.framing != TCP {
		if !Whole(l.framing, b) {
			return nil, false, fmt.Errorf("%w: %d bytes with a bad checksum", ErrCorrupt, len(b))
		}
		body = b[:len(b)-2]
	} else {
		switch {
		case !Whole(l.framing, b):
			return nil, false, fmt.Errorf("%w: a datagram of %d bytes is not one frame", ErrCorrupt, len(b))
		case binary.BigEndian.Uint16(b) != l.transaction:
			return nil, true, nil
		}
		body = b[6:]
	}
	if !l.want.accepts(body) {
		return nil, false, l.want.mismatch(body)
	}
	return body, false, nil
}

// Whole reports whether b is exactly one frame of framing TCP or RTUOverTCP, as a datagram must be.
func Whole(f Framing, b []byte) bool {
	if f == TCP {
		frame, err := splitTCP(b)
		return err == nil && len(frame) > 0 && len(frame) == len(b)
	}
	return len(b) >= 4 && len(b) <= 256 && crc(b) == 0
}
