package mqtt

import "sync/atomic"

// Slots count what is under way, of all clients together. Any goroutine may use them.
type Slots struct{ taken atomic.Int64 }

// Take takes one unless most are taken.
func (s *Slots) Take(most int) bool {
	if s.taken.Add(1) > int64(most) {
		s.taken.Add(-1)
		return false
	}
	return true
}

// Give gives one back.
func (s *Slots) Give() { s.taken.Add(-1) }

// Taken is how many are taken.
func (s *Slots) Taken() int { return int(s.taken.Load()) }
