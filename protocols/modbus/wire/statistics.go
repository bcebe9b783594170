package wire

import "time"

// Meter computes the share of time a wire was busy between two questions.
type Meter struct {
	at   time.Duration
	busy time.Duration
}

// Share is the share of time, 0 to 1, that the wire was busy since the last
// call, given all the time it was ever busy.
func (m *Meter) Share(busy, now time.Duration) float64 {
	span, worked := now-m.at, busy-m.busy
	m.at, m.busy = now, busy
	if span <= 0 {
		return 0
	}
	return min(float64(worked)/float64(span), 1)
}
