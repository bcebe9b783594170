package modbusunit_test

import (
	"sync"
	"testing"
	"time"

	samplev1 "gatewayd/schemas/sample/v1"
)

// stalls are the times in which the machine stood still.
type stalls struct {
	mu   sync.Mutex
	last time.Time // the last look
	all  [][2]time.Time
}

const look = 2 * time.Millisecond

// still is how late a goroutine is woken on a machine that stands still. Some
// five wake each other while a simulated device answers, and 50 ms are the
// shortest timeout of a unit.
const still = 10 * time.Millisecond

// watchStalls notes stalls until the test ends.
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

// excuse says whether the machine stood still shortly before these samples, or does so now: what a device did not answer in time then says nothing.
func (s *stalls) excuse(x *samplev1.Samples) bool {
	s.look(time.Now())
	return s.between(x.Time.AsTime().Add(-5*time.Second), time.Now())
}

// between says whether there was one.
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
