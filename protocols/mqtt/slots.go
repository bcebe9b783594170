package mqtt

import "sync/atomic"

// Slots count what is under way for all clients together. It is safe for concurrent use.
type Slots struct{ taken atomic.Int64 }

// Take takes a slot. It returns false if most slots are taken.
func (s *Slots) Take(most int) bool {
	if s.taken.Add(1) > int64(most) {
		s.taken.Add(-1)
		return false
	}
	return true
}

// Give returns a slot.
func (s *Slots) Give() { s.taken.Add(-1) }

// Taken returns the number of slots taken.
func (s *Slots) Taken() int { return int(s.taken.Load()) }
