// Package backoff is how long whoever has failed waits before he tries again.
package backoff

import (
	"math/rand/v2"
	"time"
)

// What the first pause is.
const (
	Near = 100 * time.Millisecond // of what stands on the same site
	Far  = time.Second            // of what thousands of gateways share
)

// Pause is the pause before the attempt that follows so many failed ones in a row: none after none, then it doubles from first up to most, and is
// shortened at random by up to half, so that what broke together does not come back together.
func Pause(failed int, first, most time.Duration) time.Duration {
	if failed <= 0 {
		return 0
	}
	d := most
	if shift := failed - 1; shift < 20 {
		d = min(first<<shift, most)
	}
	return d - time.Duration(rand.Int64N(int64(d/2)+1))
}
