package backoff_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/backoff"
)

func TestPause(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		failed := rapid.IntRange(-1, 1000).Draw(t, "failed")
		first := rapid.SampledFrom([]time.Duration{backoff.Near, backoff.Far}).Draw(t, "first")
		most := time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(time.Hour)).Draw(t, "most"))
		want := time.Duration(0)
		for range failed {
			want = min(max(first, 2*want), most)
		}
		if d := backoff.Pause(failed, first, most); d > want || d < want/2 {
			t.Fatalf("%s, want %s to %s", d, want/2, want)
		}
	})
}
