package schedule

import (
	"math"
	"time"
)

// latency holds the statistics of a unit's response times; recent ones weigh most.
type latency struct {
	known    bool    // there is at least one
	mean     float64 // in seconds
	variance float64
}

// learn follows RFC 6298 with a variance in place of the mean deviation. Times longer than twice
// most count as twice most.
func (l *latency) learn(rtt, most time.Duration) {
	x := min(max(0, rtt), 2*min(most, math.MaxInt64/4)).Seconds()
	if !l.known {
		*l = latency{known: true, mean: x, variance: x * x / 4}
		return
	}
	const weight = 1.0 / 8
	d := x - l.mean
	l.mean += weight * d
	l.variance = (1 - weight) * (l.variance + weight*d*d)
}

// likely returns the mean plus sigmas standard deviations, within the bounds.
func (l latency) likely(sigmas float64, least, most time.Duration) time.Duration {
	seconds := l.mean + sigmas*math.Sqrt(l.variance)
	if !(seconds < most.Seconds()) {
		return most
	}
	return max(least, time.Duration(seconds*float64(time.Second)))
}
