package bus

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// asyncConn is the client's end of an in-process connection. The server's pipe accepts a write only
// after the server has processed the previous one, and a publisher holds the client's lock
// meanwhile: hundreds of actors would wait for each other, each in its own goroutine. Write on a
// asyncConn returns at once.
type asyncConn struct {
	net.Conn
	mu      sync.Mutex
	changed sync.Cond // signals room in waiting, or err
	waiting []byte
	spare   []byte
	going   bool // a goroutine is writing what waits
	err     error
}

const (
	asyncMax  = 32 << 10 // bytes that may wait before Write blocks
	asyncKept = 64 << 10 // capacity of an empty buffer that is kept
	// Bytes written at once if they are more than one message. When a read fills the server's
	// buffer, the server doubles that buffer.
	asyncStep = 2<<10 - 1
)

func newAsyncConn(c net.Conn) *asyncConn {
	s := &asyncConn{Conn: c}
	s.changed.L = &s.mu
	return s
}

// Write accepts all of p, or returns the error of the connection.
func (s *asyncConn) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.waiting) >= asyncMax {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	s.waiting = append(s.waiting, p...)
	if !s.going {
		s.going = true
		go s.pass()
	}
	return len(p), nil
}

// pass writes what waits until nothing is left.
func (s *asyncConn) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.waiting) > 0 {
		b := s.waiting
		s.waiting = s.spare[:0]
		s.changed.Broadcast()
		s.mu.Unlock()
		err := s.hand(b)
		s.mu.Lock()
		if s.spare = b; cap(b) > asyncKept {
			s.spare = nil
		}
		s.err = err
	}
	s.changed.Broadcast()
	s.going = false
}

// hand writes whole messages: the server copies a message that arrives in two parts.
func (s *asyncConn) hand(b []byte) error {
	for len(b) > 0 {
		n := messageEnd(b)
		for n < len(b) {
			next := n + messageEnd(b[n:])
			if next > asyncStep {
				break
			}
			n = next
		}
		if _, err := s.Conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// messageEnd returns the end of the first message in b (NATS client protocol): one line, and for
// PUB and HPUB also the number of bytes at the end of that line plus CRLF. If the message is
// incomplete it returns len(b).
func messageEnd(b []byte) int {
	line := bytes.IndexByte(b, '\n') + 1
	if line == 0 {
		return len(b)
	}
	if !bytes.HasPrefix(b, []byte("PUB ")) && !bytes.HasPrefix(b, []byte("HPUB ")) {
		return line
	}
	size, unit := 0, 1
	for i := line - 3; i > 0 && '0' <= b[i] && b[i] <= '9' && unit < 1e9; i, unit = i-1, unit*10 {
		size += unit * int(b[i]-'0')
	}
	return min(line+size+2, len(b))
}

// SetWriteDeadline does nothing: Write does not wait for the server.
func (s *asyncConn) SetWriteDeadline(time.Time) error { return nil }
