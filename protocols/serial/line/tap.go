package line

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"gatewayd/protocols/readbuffer"
)

// Tap is a device's end of the wire as a byte stream, for code that serves an io.ReadWriter. It
// reads what other stations send, each of their writes as a whole at its last byte, or, with
// Options.FIFO, in portions as it arrives. What it writes goes on the wire from that moment on. One
// goroutine may read while another writes.
type Tap struct {
	station
	line *Line
	in   *readbuffer.Buffer
}

var _ net.Conn = (*Tap)(nil)

// backlog limits, in bytes, what a Tap may have written ahead of the wire and what may wait to be
// read; more is an overrun and lost.
const backlog = 1 << 16

// Tap adds a device that is a byte stream. It reads io.EOF when the line is closed, net.ErrClosed
// when the Tap is closed.
func (l *Line) Tap() *Tap {
	t := &Tap{line: l}
	t.in = readbuffer.New(backlog, func(at time.Time, wake func()) { // the agenda is precise to about 100 µs, unlike timers of the runtime
		l.mu.Lock()
		defer l.mu.Unlock()
		l.at(at.Sub(l.epoch), wake)
	})
	t.station.stream = l.opts.FIFO > 0
	t.station.hear = func(s span, _ *station, _ int) { t.take(s.data) }
	l.join(&t.station)
	return t
}

// take adds data for the reader; empty data means that the line is closed.
func (t *Tap) take(data []byte) {
	if len(data) == 0 {
		t.in.End(io.EOF)
		return
	}
	t.in.Append(data)
}

// Read waits for at least one byte or the deadline, which is precise to about 100 µs.
func (t *Tap) Read(b []byte) (int, error) { return t.in.Read(b) }

// Write puts b on the wire and returns at once.
func (t *Tap) Write(b []byte) (int, error) {
	if t.in.Err() != nil {
		return 0, net.ErrClosed
	}
	l := t.line
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if ahead := t.sentTo - now; ahead > time.Duration(backlog)*l.opts.charTime(l.baudOf(&t.station)) && ahead > 0 {
		return 0, fmt.Errorf("line %s: more than %d bytes are waiting to be sent", l.opts.Name, backlog)
	}
	l.send(&t.station, slices.Clone(b), now)
	return len(b), nil
}

// Close removes the device from the wire and ends a waiting Read. What it has written is still
// sent.
func (t *Tap) Close() error {
	t.line.leave(&t.station)
	t.in.Close()
	return nil
}

// SetReadDeadline sets the deadline of Read, also for a Read that is already waiting; the zero time
// means none.
func (t *Tap) SetReadDeadline(d time.Time) error {
	t.in.SetReadDeadline(d)
	return nil
}

// SetDeadline is SetReadDeadline, since Write never blocks.
func (t *Tap) SetDeadline(d time.Time) error { return t.SetReadDeadline(d) }

// SetWriteDeadline does nothing, since Write never blocks.
func (t *Tap) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr returns the line's path.
func (t *Tap) LocalAddr() net.Addr { return addr(t.line.Path()) }

// RemoteAddr returns the line's path.
func (t *Tap) RemoteAddr() net.Addr { return addr(t.line.Path()) }

type addr string

func (addr) Network() string  { return "serial" }
func (a addr) String() string { return string(a) }
