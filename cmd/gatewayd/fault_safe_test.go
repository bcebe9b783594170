package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	actorv1 "gatewayd/schemas/actor/v1"
)

// Four lives that end without a stop or a quiet period are a boot loop: the fifth starts only what
// is needed for diagnosis.
func TestFaultBootLoopEndsInSafeMode(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1)
	for life := range 4 {
		r := s.start()
		if b := r.boot(); b.SafeMode {
			t.Fatalf("life %d is in safe mode", life+1)
		}
		r.watch().good(units...)
		r.kill()
	}
	r := s.start()
	if b := r.boot(); !b.SafeMode || b.LastEnd != "crashed" {
		t.Errorf("the fifth life says safe mode %v, last end %q", b.SafeMode, b.LastEnd)
	}
	r.until("the field is stopped", func() bool {
		h := r.health("field")
		return h.GetState() == "stopped" && strings.Contains(h.GetCause(), "safe mode")
	})
	file, _ := faultBinary()
	tree, err := exec.Command(file, "tree", "--data", s.data).CombinedOutput()
	if err != nil || !strings.Contains(string(tree), "safe mode") {
		t.Errorf("tree does not say why groups are stopped (%v):\n%s", err, tree)
	}
	r.intact(1)
	since := time.Now()
	w := r.watch()
	r.must("field", "Restart", &actorv1.RestartRequest{}, &actorv1.RestartResponse{})
	w.good(units...)
	t.Logf("polls %s after the group was started by hand", time.Since(since).Round(time.Millisecond))
	r.stop(faultWait)

	// A clean stop does not clear the count of failures: only a quiet period does.
	r = s.start()
	if b := r.boot(); !b.SafeMode || b.LastEnd != "clean" {
		t.Errorf("the sixth life says safe mode %v, last end %q", b.SafeMode, b.LastEnd)
	}
	r.stop(faultWait)
}
