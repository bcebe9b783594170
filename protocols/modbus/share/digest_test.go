package share_test

import (
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus/share"
)

// Every added value is taken once, under its own key or under that of all others, and Add reports
// wake before anything waits.
func TestNothingIsLostInADigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d share.Digest[int, int]
		added, taken, called, waiting := 0, 0, false, false
		for range rapid.IntRange(1, 2000).Draw(t, "n") {
			switch rapid.IntRange(0, 40).Draw(t, "what") {
			case 0:
				told := d.Take()
				for _, x := range told {
					taken += x.Count
				}
				if len(told) > 257 {
					t.Fatalf("%d keys", len(told))
				}
				called, waiting = len(told) > 0, false
			case 1:
				d.Asleep()
				called = false
			default:
				if d.Add(rapid.IntRange(1, 600).Draw(t, "key"), added) {
					called = true
				}
				added++
				waiting = true
			}
			if waiting && !called {
				called = d.Add(1, added)
				if added++; !called {
					t.Fatal("something waits and nobody is called")
				}
			}
		}
		for _, x := range d.Take() {
			taken += x.Count
		}
		if added != taken {
			t.Fatalf("%d added, %d taken", added, taken)
		}
	})
}
