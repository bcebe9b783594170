package modbusunit_test

import (
	"sync"
	"testing"
	"time"

	samplev1 "gatewayd/schemas/sample/v1"
)

// stalls are the periods in which the machine stalled.
type stalls struct {
	mu   sync.Mutex
	last time.Time // time of the last check
	all  [][2]time.Time
}

const look = 2 * time.Millisecond

// still is the wake-up delay of a goroutine from which on the machine counts as stalled. About five
// goroutines wake each other while a simulated device answers, and 50 ms are the shortest timeout
// of a unit.
const still = 10 * time.Millisecond

// watchStalls records stalls until the test ends.
func watchStalls(t *testing.T) *stalls {
	t.Helper()
	s, end, done := &stalls{last: time.Now()}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			case <-time.After(look):
				s.look(time.Now())
			}
		}
	}()
	t.Cleanup(func() { close(end); <-done })
	return s
}

func (s *stalls) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last) > look+still {
		s.all = append(s.all, [2]time.Time{s.last, now})
	}
	s.last = now
}

// excuse reports whether the machine stalled shortly before these samples, or does so now. A
// missing answer of a device then proves nothing.
func (s *stalls) excuse(x *samplev1.Samples) bool {
	s.look(time.Now())
	return s.between(x.Time.AsTime().Add(-5*time.Second), time.Now())
}

// between reports whether there was a stall between two times.
func (s *stalls) between(from, to time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		if one[0].Before(to) && one[1].After(from) {
			return true
		}
	}
	return false
}
