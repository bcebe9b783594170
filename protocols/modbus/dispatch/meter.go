package dispatch

import "time"

// Meter computes the share of time for which a line was in use. The zero Meter is ready to use.
type Meter struct {
	at   time.Duration
	busy time.Duration
}

// Share returns the share of the time since the last call, 0 to 1, for which the line was in use.
// busy is its total time in use so far, as in Counts.
func (m *Meter) Share(busy, now time.Duration) float64 {
	span, worked := now-m.at, busy-m.busy
	m.at, m.busy = now, busy
	if span <= 0 {
		return 0
	}
	return min(float64(worked)/float64(span), 1)
}
