package schedule

import (
	"math"
	"time"
)

// most is how often a back-off doubles at most: 1 ns would be a century and more.
const most = 62

// backoff returns the jittered pause before the next probe: Base doubled for each probe without answer, at most Cap. What probes may
// take from other units is the queue's to say.
func (b *Breaker) backoff() time.Duration {
	d := b.config.Cap
	// Shifting the cap down instead of the base up cannot overflow.
	if b.config.Base <= d>>b.attempt {
		d = b.config.Base << b.attempt
	}
	return d - time.Duration(random(&b.seed)*b.config.Jitter*float64(d))
}

// random is splitmix64, from 0 to below 1.
func random(seed *uint64) float64 {
	*seed += 0x9e3779b97f4a7c15
	z := *seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return float64((z^z>>31)>>11) / (1 << 53)
}

// after adds without overflow.
func after(now, d time.Duration) time.Duration {
	if d > 0 && now > math.MaxInt64-d {
		return math.MaxInt64
	}
	return now + d
}

// times multiplies without overflow.
func times(d time.Duration, n int64) time.Duration {
	if d > time.Duration(math.MaxInt64/n) {
		return math.MaxInt64
	}
	return d * time.Duration(n)
}
