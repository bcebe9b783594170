package mqtt

import (
	"testing"
	"time"
)

func TestClaims(t *testing.T) {
	var c Claims
	if _, ok := c.Path("request"); ok {
		t.Error("a topic that nobody has claimed")
	}
	now := time.Now()
	for _, x := range []struct {
		topic, path string
		after       time.Duration
		ok          bool
	}{
		{"request", "edge/a", 0, true},
		{"request", "edge/a", time.Second, true},
		{"request", "edge/b", 2 * time.Second, false},
		{"request", "edge/b", time.Second + ClaimTime, true},
		{"plant/1/request", "edge/a", time.Minute, true},
		{"", "edge/a", 0, false}, {"a/#", "edge/a", 0, false}, {"+", "edge/a", 0, false}, {"$SYS/x", "edge/a", 0, false},
		{"cmd/x", "edge/a", 0, false}, {"cmd", "edge/a", 0, false}, {"reply/x", "edge/a", 0, false}, {"data/x", "edge/a", 0, false}, {"state", "edge/a", 0, false},
	} {
		if err := c.Take(Claim{Topic: x.topic, Path: x.path}, now.Add(x.after)); (err == nil) != x.ok {
			t.Errorf("%s takes %q after %s: %v", x.path, x.topic, x.after, err)
		}
	}
	if path, ok := c.Path("plant/1/request"); path != "edge/a" || !ok {
		t.Error(path, ok)
	}
	if _, ok := c.Path("request"); ok {
		t.Error("a claim that has run out a minute before the last one still holds")
	}
}
