package mdi

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"
	"time"

	"gatewayd/protocols/stranger"
)

// line carries messages over a connection for one of the state machines. Outgoing messages wait in
// memory, so that the machine never waits for the network.
type line struct {
	conn  net.Conn
	limit time.Duration // for one write

	mu   sync.Mutex
	out  []byte
	last bool // nothing comes after out
	err  error

	said  []byte // first octets received
	heard bool   // a message has arrived

	wake chan struct{} // has capacity 1
	done chan struct{} // closed at the end
	once sync.Once
}

const (
	maxWaiting = 8 << 20 // octets waiting to be written
	parting    = 2 * time.Second
)

func newLine(conn net.Conn, limit time.Duration) *line {
	return &line{conn: conn, limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// send queues a message.
func (l *line) send(message []byte) {
	l.mu.Lock()
	full := len(l.out)+len(message) > maxWaiting
	if !full && !l.last {
		l.out = frame(l.out, message)
	}
	l.mu.Unlock()
	if full {
		l.end(fmt.Errorf("%d octets are waiting to be written", maxWaiting))
	}
	l.rouse()
}

// part ends the line after what was sent has been written.
func (l *line) part(err error) {
	l.mu.Lock()
	l.last = true
	if l.err == nil {
		l.err = err
	}
	l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(parting))
	l.rouse()
}

func (l *line) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// end ends the line at once.
func (l *line) end(err error) {
	l.once.Do(func() {
		l.mu.Lock()
		if l.err == nil {
			l.err = err
		}
		l.mu.Unlock()
		_ = l.conn.Close()
		close(l.done)
	})
}

// why returns why the line has ended.
func (l *line) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// unopened returns why the line ended before the session was opened.
func (l *line) unopened() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	who := stranger.Who(l.said)
	switch {
	case l.heard:
	case who != "":
		return fmt.Errorf("%s answers there, not an MDI receiver", who)
	case l.err == nil || errors.Is(l.err, errOver) || errors.Is(l.err, syscall.ECONNRESET) || errors.Is(l.err, syscall.EPIPE):
		return errors.New("the other side closed the connection without opening the session")
	}
	if l.err == nil {
		return errOver
	}
	return l.err
}

// errOver means that the peer has ended the line.
var errOver = errors.New("the other side has closed the connection")

// guard ends a line whose goroutine panics.
func (l *line) guard() {
	if p := recover(); p != nil {
		l.end(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// write writes until the line ends.
func (l *line) write() {
	defer l.guard()
	for {
		l.mu.Lock()
		out, last := l.out, l.last
		l.out = nil
		l.mu.Unlock()
		if len(out) > 0 {
			if !last {
				_ = l.conn.SetWriteDeadline(time.Now().Add(l.limit))
			}
			if _, err := l.conn.Write(out); err != nil {
				l.end(fmt.Errorf("write: %w", err))
				return
			}
			continue
		}
		if last {
			l.hangUp()
			return
		}
		select {
		case <-l.wake:
		case <-l.done:
			return
		}
	}
}

// hangUp lets the peer read what was written last: closing with unread data would discard it.
func (l *line) hangUp() {
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		select {
		case <-l.done: // the reader has reached the end
		case <-time.After(parting):
		}
	}
	l.end(nil)
}

// read passes on all messages until the line ends. Those of later versions are skipped.
func (l *line) read(take func(Message)) {
	defer l.guard()
	in := bufio.NewReaderSize(l.conn, 4096)
	if _, err := in.Peek(1); err == nil {
		said, _ := in.Peek(min(in.Buffered(), 64))
		l.mu.Lock()
		l.said = slices.Clone(said)
		l.mu.Unlock()
	}
	for {
		b, err := unframe(in)
		if err == nil {
			l.mu.Lock()
			l.heard = true
			l.mu.Unlock()
			var m Message
			if m, err = Decode(b); err == nil {
				take(m)
			}
			if errors.Is(err, ErrUnknown) {
				err = nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			l.end(errOver)
			return
		case err != nil:
			l.end(err)
			return
		}
	}
}

// ticks calls tick whenever next says that it is time; kick makes it check again.
func (l *line) ticks(kick <-chan struct{}, next func() time.Time, tick func(now time.Time)) {
	defer l.guard()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if at := next(); at.IsZero() {
			timer.Reset(time.Hour)
		} else {
			timer.Reset(time.Until(at))
		}
		select {
		case now := <-timer.C:
			tick(now)
		case <-kick:
		case <-l.done:
			return
		}
	}
}
