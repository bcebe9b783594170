package uplink

import (
	"math/rand/v2"
	"time"
)

// Backoff is the pause before the attempt that follows so many failed ones: it doubles from a second up to most, and is shortened at
// random by up to half so that a thousand gateways that lost their cloud together do not come back together.
func Backoff(failed int, most time.Duration) time.Duration {
	d := most
	if shift := max(failed-1, 0); shift < 20 {
		d = min(time.Second<<shift, most)
	}
	return d - time.Duration(rand.Int64N(int64(d/2)+1))
}
