package bus

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// slack is the client's end of a connection within the process. The pipe of the
// server takes nothing before the server has dealt with what came before, and
// whoever publishes holds the client's lock meanwhile: hundreds of actors would
// wait for each other, each in a goroutine of its own. Here Write returns at once.
type slack struct {
	net.Conn
	mu      sync.Mutex
	changed sync.Cond // room or err
	waiting []byte
	spare   []byte
	going   bool // somebody writes what waits
	err     error
}

const (
	slackMost = 32 << 10  // bytes that may wait; who has more waits himself
	slackKept = 64 << 10  // of a buffer that is empty
	slackStep = 2<<10 - 1 // go at once, if they are more than one piece: where they fill its buffer the server makes itself one of twice the size
)

func newSlack(c net.Conn) *slack {
	s := &slack{Conn: c}
	s.changed.L = &s.mu
	return s
}

// Write takes all of p, or says what has become of the connection.
func (s *slack) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.waiting) >= slackMost {
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

// pass writes what waits until nothing does.
func (s *slack) pass() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && len(s.waiting) > 0 {
		b := s.waiting
		s.waiting = s.spare[:0]
		s.changed.Broadcast()
		s.mu.Unlock()
		err := s.hand(b)
		s.mu.Lock()
		if s.spare = b; cap(b) > slackKept {
			s.spare = nil
		}
		s.err = err
	}
	s.changed.Broadcast()
	s.going = false
}

// hand writes messages whole: of one that comes in two the server makes a copy.
func (s *slack) hand(b []byte) error {
	for len(b) > 0 {
		n := messageEnd(b)
		for n < len(b) {
			next := n + messageEnd(b[n:])
			if next > slackStep {
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

// messageEnd is where the first message of b ends, as NATS clients speak: a line, and of PUB and HPUB so many bytes as it ends with, and
// another end of line. Of what is no whole message it is the end of b.
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

// SetWriteDeadline does nothing: nobody waits.
func (s *slack) SetWriteDeadline(time.Time) error { return nil }
