// Package backoff computes the pause before another attempt after failures.
package backoff

import (
	"math/rand/v2"
	"time"
)

// First pauses.
const (
	Near = 100 * time.Millisecond // for peers on the same site
	Far  = time.Second            // for servers that thousands of gateways share
)

// Pause returns the pause before the next attempt after failed consecutive failures. It is 0 after
// none, then doubles from first up to most, and is shortened at random by up to half, so that
// clients disconnected together do not come back together.
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
