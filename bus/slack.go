package bus

import (
	"net"
	"sync"
	"time"
)

// pieces are what was written, one after the other.
type pieces struct {
	bytes []byte
	ends  []int // of each
}

// slack is the client's end of a connection within the process. The pipe of the
// server takes nothing before the server has dealt with what came before, and
// whoever publishes holds the client's lock meanwhile: hundreds of actors would
// wait for each other, each in a goroutine of its own. Here Write returns at once.
type slack struct {
	net.Conn
	mu      sync.Mutex
	changed sync.Cond // room or err
	waiting pieces
	spare   pieces
	going   bool // somebody writes what waits
	err     error
}

const (
	slackMost = 32 << 10  // bytes that may wait; who has more waits himself
	slackKept = 64 << 10  // of a buffer that is empty
	slackStep = 8<<10 - 1 // go at once, if they are more than one piece: where they fill its buffer the server makes itself one of twice the size
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
	for s.err == nil && len(s.waiting.bytes) >= slackMost {
		s.changed.Wait()
	}
	if s.err != nil {
		return 0, s.err
	}
	s.waiting.bytes = append(s.waiting.bytes, p...)
	s.waiting.ends = append(s.waiting.ends, len(s.waiting.bytes))
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
	for s.err == nil && len(s.waiting.ends) > 0 {
		b := s.waiting
		s.waiting = pieces{s.spare.bytes[:0], s.spare.ends[:0]}
		s.changed.Broadcast()
		s.mu.Unlock()
		err := s.hand(b)
		s.mu.Lock()
		if s.spare = b; cap(b.bytes) > slackKept {
			s.spare = pieces{}
		}
		s.err = err
	}
	s.changed.Broadcast()
	s.going = false
}

// hand writes pieces whole: of a message that comes in two the server makes a copy.
func (s *slack) hand(p pieces) error {
	from := 0
	for i, end := range p.ends {
		if i+1 < len(p.ends) && p.ends[i+1]-from <= slackStep {
			continue
		}
		if _, err := s.Conn.Write(p.bytes[from:end]); err != nil {
			return err
		}
		from = end
	}
	return nil
}

// SetWriteDeadline does nothing: nobody waits.
func (s *slack) SetWriteDeadline(time.Time) error { return nil }
