package demo

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	actorv1 "gatewayd/schemas/actor/v1"
)

// The view fits any terminal, whatever it shows.
func TestViewFits(t *testing.T) {
	states := []string{"ok", "starting", "degraded", "unreachable", "failed", "quarantined", "stopped", "new"}
	rapid.Check(t, func(t *rapid.T) {
		n := newNews(nil)
		for _, p := range rapid.SliceOfN(somePath, 0, 40).Draw(t, "paths") {
			h := &actorv1.Health{Kind: "x", State: rapid.SampledFrom(states).Draw(t, "state"), Cause: rapid.String().Draw(t, "cause"), Since: timestamppb.Now()}
			n.update(func() { n.hear(p, h) })
		}
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		lines := frame(n, []string{"try this", "and that"}, "mqtt://x", height, time.Now(), time.Hour)
		if len(lines) > height {
			t.Fatalf("%d lines on a terminal of %d", len(lines), height)
		}
		s := &screen{}
		for _, l := range lines {
			if text := s.fit(l, width); utf8.RuneCountInString(text) > width || strings.ContainsAny(text, "\x1b\r\n") {
				t.Fatalf("%q on a terminal of %d columns", text, width)
			}
		}
	})
}

func TestRate(t *testing.T) {
	begin := time.Unix(1000, 0)
	tr := &traffic{}
	for i := range 100 {
		tr.count(begin.Add(time.Duration(i) * 100 * time.Millisecond))
	}
	if got := tr.rate(begin.Add(10 * time.Second)); got != 10 {
		t.Errorf("rate is %g, want 10", got)
	}
	if got := tr.rate(begin.Add(20 * time.Second)); got != 0 {
		t.Errorf("rate long after is %g, want 0", got)
	}
}

var somePath = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.StringMatching(`[ab]?[0-9]{1,3}-?|bus|root`), 1, 4).Draw(t, "tokens"), "/")
})
