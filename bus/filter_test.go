package bus_test

import (
	"strings"
	"testing"

	"gatewayd/bus"
)

func TestFiltersOfTracks(t *testing.T) {
	for _, c := range []struct{ filters, says string }{
		{"", ""},
		{"tracks/a tracks/b", ""},
		{"tracks/+ tracks/a", ""},
		{"tracks/a # tracks/b/c", ""},
		{"tracks/a tracks/a", ""},
		{"tracks/a tracks/a/b", ""},
		{"tracks/+/x tracks/a/y", ""},
		{"tracks/+/x tracks/a/+", `"tracks/+/x" and "tracks/a/+" match some tracks twice: write "tracks/+/+" for all of them`},
		{"tracks/+/x tracks/a/#", `write "tracks/+/#"`},
		{"tracks/+/x tracks/a/+ #", `match some tracks twice`},
		{"# tracks/+/x tracks/a/+", ""},
		{"#/a", `only allowed at the end`},
	} {
		err := bus.CheckTracks(strings.Fields(c.filters))
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", c.filters, err, c.says)
		}
	}
}

// A reader receives each message once, however many of its filters match it.
func TestAReaderOfFiltersThatCoverEachOther(t *testing.T) {
	b := start(t, nil)
	kept(t, b, "a", "1")
	kept(t, b, "b", "2")
	r := openReader(t, b, bus.ReaderConfig{Name: "uplink/a", Tracks: []string{"tracks/a", "#", "tracks/b"}})
	if all, _ := texts(t, r, 2); len(all) != 2 {
		t.Errorf("%v", all)
	}
}
