package modbusunit_test

import (
	"sync"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
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

// slots says which share of n slots of a unit brought good samples. Those in
// which, or shortly before which, the machine stood still are not counted: a
// simulated device is late then, and what a real one would have done is unknown.
func slots(t *testing.T, data <-chan *samplev1.Samples, every time.Duration, n int) float64 {
	t.Helper()
	s := watchStalls(t)
	actorstest.NextWhere(t, data, good) // the first is not on the grid
	begin, limit := actorstest.NextWhere(t, data, good).Time.AsTime(), time.Now().Add(3*time.Duration(n)*every)
	brought := map[int]*samplev1.Samples{}
	fair, got, slot := 0, 0, 0
	for fair < n && (fair < n/4 || time.Now().Before(limit)) {
		next := actorstest.Next(t, data)
		slot = int((next.Time.AsTime().Sub(begin) + every/2) / every)
		brought[slot] = next
		fair, got = 0, 0
		for i := 1; i < slot; i++ {
			at := begin.Add(time.Duration(i) * every)
			if s.between(at.Add(-5*every), at.Add(every)) {
				continue
			}
			if fair++; brought[i] != nil && good(brought[i]) {
				got++
			}
		}
		if time.Now().After(limit.Add(time.Minute)) {
			t.Fatal("the machine stands still most of the time")
		}
	}
	t.Logf("%d of %d slots were good; in %d others the machine stood still", got, fair, slot-1-fair)
	if fair < n { // the machine stood still for most of the time: only what is grossly wrong is told
		got = min(fair, got+fair/4)
	}
	return float64(got) / float64(fair)
}
