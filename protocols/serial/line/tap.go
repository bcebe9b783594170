package line

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"gatewayd/protocols/readbuffer"
)

// Tap is a device's end of the wire as a byte stream, for any code that serves an io.ReadWriter. It reads what others send, each write
// of theirs whole at its last byte (as it comes, in portions, with Options.FIFO); what it writes is on the wire from then on. One
// goroutine may read while another writes.
type Tap struct {
	station
	line *Line
	in   *readbuffer.Buffer
}

var _ net.Conn = (*Tap)(nil)

// backlog is what a Tap may have written ahead of the wire, and what may wait to be read; more is an overrun and lost. In bytes.
const backlog = 1 << 16

// Tap adds a device that is a byte stream. It reads io.EOF when the line is closed, net.ErrClosed when it is closed itself.
func (l *Line) Tap() *Tap {
	t := &Tap{line: l}
	t.in = readbuffer.New(backlog, func(at time.Time, wake func()) { // the agenda is precise to some 100 µs, timers of the runtime are not
		l.mu.Lock()
		defer l.mu.Unlock()
		l.at(at.Sub(l.epoch), wake)
	})
	t.station.stream = l.opts.FIFO > 0
	t.station.hear = func(s span, _ *station, _ int) { t.take(s.data) }
	l.join(&t.station)
	return t
}

// take adds data for the reader; none means the line is closed.
func (t *Tap) take(data []byte) {
	if len(data) == 0 {
		t.in.End(io.EOF)
		return
	}
	t.in.Append(data)
}

// Read waits for at least one byte or the deadline, which it keeps to some 100 µs.
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
		return 0, fmt.Errorf("line %s: more than %d bytes wait to be sent", l.opts.Name, backlog)
	}
	l.send(&t.station, slices.Clone(b), now)
	return len(b), nil
}

// Close takes the device off the wire and ends a waiting Read. What it has written is still sent.
func (t *Tap) Close() error {
	t.line.leave(&t.station)
	t.in.Close()
	return nil
}

// SetReadDeadline ends Read at d, a waiting one too; the zero time means never.
func (t *Tap) SetReadDeadline(d time.Time) error {
	t.in.SetReadDeadline(d)
	return nil
}

// SetDeadline is SetReadDeadline: Write never waits.
func (t *Tap) SetDeadline(d time.Time) error { return t.SetReadDeadline(d) }

// SetWriteDeadline does nothing: Write never waits.
func (t *Tap) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr is the line's path.
func (t *Tap) LocalAddr() net.Addr { return addr(t.line.Path()) }

// RemoteAddr is the line's path.
func (t *Tap) RemoteAddr() net.Addr { return addr(t.line.Path()) }

type addr string

func (addr) Network() string  { return "serial" }
func (a addr) String() string { return string(a) }
