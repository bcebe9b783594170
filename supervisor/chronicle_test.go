package supervisor

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/actors"
)

// A flapping actor is logged no more often than the bound allows, and always again after a quiet
// time.
func TestBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bound{burst: rapid.IntRange(1, 9).Draw(t, "burst"), each: time.Duration(rapid.IntRange(1, 60).Draw(t, "each")) * time.Second}
		begin := time.Unix(1e9, 0)
		now, s, passed := begin, spent{}, 0
		for range rapid.IntRange(1, 200).Draw(t, "tries") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "pause")) * time.Second)
			var ok bool
			if s, ok = b.pass(s, now); ok {
				passed++
			}
			if most := b.burst + int(now.Sub(begin)/b.each); passed > most {
				t.Fatalf("%d passed in %s, at most %d may", passed, now.Sub(begin), most)
			}
		}
		if _, ok := b.pass(s, now.Add(time.Duration(b.burst)*b.each)); !ok {
			t.Fatal("it never passes again")
		}
	})
}

func TestChronicle(t *testing.T) {
	c := chronicle{}
	for _, x := range []struct{ state, want string }{
		{actors.Starting, ""}, {actors.OK, ""}, {actors.Degraded, "degraded"}, {actors.Degraded, ""}, {actors.Unreachable, "unreachable"},
		{actors.Degraded, ""}, {actors.Bad, ""}, {actors.OK, "healthy again"}, {actors.OK, ""}, {actors.Unreachable, "unreachable"},
	} {
		_, text, worth := c.news(x.state)
		if text != x.want || worth != (x.want != "") {
			t.Errorf("%s after %q: %q", x.state, c.state, text)
		}
		if worth {
			if c.state = x.state; x.state == actors.OK {
				c.state = ""
			}
		}
	}
}
