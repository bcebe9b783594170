package wire

import (
	"math/rand/v2"
	"time"
)

// first is the pause after the second failure in a row; the first attempt to
// repair something comes at once.
const first = 100 * time.Millisecond

// Backoff is the pause before the attempt that follows so many failed ones: none
// after none, then doubling, at most most, shortened at random by up to a
// quarter so that what broke together does not come back together.
func Backoff(failed int, most time.Duration) time.Duration {
	if failed <= 0 {
		return 0
	}
	d := most
	if shift := failed - 1; shift < 20 {
		d = min(first<<shift, most)
	}
	return d - time.Duration(rand.Int64N(int64(d/4)+1))
}
