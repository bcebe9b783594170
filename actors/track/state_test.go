package track

import (
	"testing"

	"gatewayd/actors"
)

// Records that every reader had acknowledged before they were dropped are not reported, even if
// they were unread at the last look.
func TestMissed(t *testing.T) {
	last := seen{first: 1000, owed: 1000, newest: 98, next: 2000} // in chunks 95 and 98, unread
	for name, c := range map[string]struct {
		was            seen
		unread, oldest uint64 // sequences in the store
		first, want    uint64 // records
	}{
		"nothing went":                        {last, 90, 95, 1000, 1000},
		"a chunk went":                        {last, 90, 98, 1500, 1000},
		"all that was there went":             {last, 90, 150, 2000, 1000},
		"it went, acknowledged before":        {last, 101, 150, 2000, 2000},
		"so it did, and newer records unread": {last, 101, 170, 2500, 2000},
		"nobody reads":                        {last, 0, 150, 2000, 2000},
		"readers are beyond it":               {last, 160, 150, 2000, 2000},
		"first look":                          {seen{}, 1, 150, 2000, 2000},
		"the newest one is unreadable":        {seen{first: 1000, owed: 1000, newest: 98}, 101, 150, 2000, 1000},
	} {
		st := actors.TrackState{Unread: c.unread, Oldest: actors.Stored{Seq: c.oldest}}
		if got := c.was.missed(st, c.first); got != c.want {
			t.Errorf("%s: from %d, want %d", name, got, c.want)
		}
	}
}
