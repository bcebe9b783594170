package mqtt

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// In the long run no more passes than the budget and one burst.
func TestBudgetBoundsWhatPasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate, size := rapid.IntRange(1, 1000).Draw(t, "rate"), rapid.IntRange(100, 100_000).Draw(t, "size")
		var b budget
		begin := time.Unix(1000, 0)
		now, passed, bytes := begin, 0, 0
		for range rapid.IntRange(1, 300).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "pause")) * time.Millisecond)
			n := rapid.IntRange(2, 5000).Draw(t, "bytes")
			now = now.Add(b.pay(n, rate, size, true, now))
			passed, bytes = passed+1, bytes+n
		}
		span := now.Sub(begin).Seconds() + budgetBurst.Seconds() + 0.001
		if float64(passed) > span*float64(rate) || float64(bytes) > span*float64(size) {
			t.Fatalf("%d packets, %d bytes in %.3f s of %d/s and %d B/s", passed, bytes, span, rate, size)
		}
	})
}

func TestBudgetLetsThroughWhatItAllows(t *testing.T) {
	var b budget
	now := time.Unix(1000, 0)
	for range 10_000 {
		if wait := b.pay(100, 100, 10_000, true, now); wait > 0 {
			t.Fatalf("a client within its budget waits %v", wait)
		}
		now = now.Add(10 * time.Millisecond)
	}
	for range 1000 { // acknowledgements, which the broker has asked for
		if wait := b.pay(0, 100, 10_000, false, now); wait > 0 {
			t.Fatalf("an acknowledgement waits %v", wait)
		}
	}
}
