package firewall_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus/firewall"
)

// A watch trips once in each silence that is too long, never earlier, and only a release resets it.
func TestWatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		silence := time.Duration(rapid.IntRange(1, 100).Draw(t, "silence")) * time.Second
		now := monday
		w, last, tripped := firewall.NewWatch(silence, now), now, false
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 120_000).Draw(t, "wait")) * time.Millisecond)
			late := now.Sub(last) >= silence
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				w.SignOfLife(now)
				if !tripped && !late {
					last = now
				}
			case 1:
				w.Release(now)
				last, tripped = now, false
			default:
				trips, next := w.Check(now)
				if trips != (late && !tripped) {
					t.Fatalf("trips: %v after %s of %s, tripped before: %v", trips, now.Sub(last), silence, tripped)
				}
				tripped = tripped || trips
				if want := silence - now.Sub(last); tripped && next != 0 || !tripped && next != want {
					t.Fatalf("next check in %s, want %s", next, want)
				}
			}
			if w.Tripped() != tripped {
				t.Fatalf("tripped: %v, want %v", w.Tripped(), tripped)
			}
		}
	})
}
