package access_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"gatewayd/protocols/access"
)

// In whatever order Add and Take are called, each refusal is counted once, and Take need not be
// called without a wake.
func TestTallyCountsEachOnce(t *testing.T) {
	var tally access.Tally
	var crowd sync.WaitGroup
	calls := make(chan struct{}, 4000)
	for i := range 4 {
		crowd.Go(func() {
			for n := range 1000 {
				if tally.Add(access.Refusal{Reason: fmt.Sprint("reason ", n%3), Cause: strings.Repeat("x", 1000), Remote: fmt.Sprint(i)}) {
					calls <- struct{}{}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { crowd.Wait(); close(done) }()
	total, taken := uint64(0), 0
	for open := true; open; {
		select {
		case <-calls:
		case <-done:
			open = false
		}
		for {
			all := tally.Take()
			if len(all) == 0 {
				break
			}
			taken++
			for _, r := range all {
				if total += r.Count; len(r.Cause) > 256 || r.Remote == "" {
					t.Fatalf("%+v", r)
				}
			}
		}
	}
	if total != 4000 {
		t.Errorf("%d of 4000 were counted, in %d looks", total, taken)
	}
	if !tally.Add(access.Refusal{Reason: "late"}) {
		t.Error("nobody is called any more")
	}
	if tally.Add(access.Refusal{Reason: "later"}) {
		t.Error("called twice")
	}
	tally.Asleep()
	if !tally.Add(access.Refusal{Reason: "latest"}) {
		t.Error("nobody is called although nobody could be")
	}
}
