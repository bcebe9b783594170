package line

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// Tap is a device's end of the wire as a byte stream, for any code that serves an io.ReadWriter. It reads what others send, each write
// of theirs whole at its last byte (as it comes, in portions, with Options.FIFO); what it writes is on the wire from then on. One
// goroutine may read while another writes.
type Tap struct {
	station
	line *Line

	mu       sync.Mutex
	arrived  sync.Cond
	buf      []byte
	err      error     // why there will be no more
	deadline time.Time // zero: none
	look     time.Time // when the agenda will look at the deadline; zero: not planned
}

var _ net.Conn = (*Tap)(nil)

// backlog is what a Tap may have written ahead of the wire, and what may wait to be read; more is an overrun and lost. In bytes.
const backlog = 1 << 16

// Tap adds a device that is a byte stream. It reads io.EOF when the line is closed, net.ErrClosed when it is closed itself.
func (l *Line) Tap() *Tap {
	t := &Tap{line: l}
	t.arrived.L = &t.mu
	t.station.stream = l.opts.FIFO > 0
	t.station.hear = func(s span, _ *station, _ int) { t.take(s.data) }
	l.join(&t.station)
	return t
}

// take adds data for the reader; none means the line is closed.
func (t *Tap) take(data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(data) == 0 && t.err == nil {
		t.err = io.EOF
	}
	if len(t.buf)+len(data) <= backlog {
		t.buf = append(t.buf, data...)
	}
	t.arrived.Broadcast()
}

// Read waits for at least one byte or the deadline, which it keeps to some 100 µs.
func (t *Tap) Read(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		switch {
		case len(t.buf) > 0 && t.err != net.ErrClosed:
			n := copy(b, t.buf)
			t.buf = t.buf[n:]
			return n, nil
		case t.err != nil:
			return 0, t.err
		case !t.deadline.IsZero() && !time.Now().Before(t.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		t.arrived.Wait()
	}
}

// Write puts b on the wire and returns at once.
func (t *Tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	err := t.err
	t.mu.Unlock()
	if err != nil {
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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = net.ErrClosed
	t.arrived.Broadcast()
	return nil
}

// SetReadDeadline ends Read at d, a waiting one too; the zero time means never.
func (t *Tap) SetReadDeadline(d time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadline = d
	t.arrived.Broadcast()
	t.plan()
	return nil
}

// plan has the agenda look at the deadline, by one entry at a time however often it is moved.
func (t *Tap) plan() {
	if t.deadline.IsZero() || !t.look.IsZero() && !t.deadline.Before(t.look) {
		return
	}
	at := t.deadline
	t.look = at
	t.line.mu.Lock()
	defer t.line.mu.Unlock()
	t.line.at(at.Sub(t.line.epoch), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.look.Equal(at) {
			t.look = time.Time{}
			t.arrived.Broadcast()
			if t.deadline.After(at) {
				t.plan()
			}
		}
	})
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
