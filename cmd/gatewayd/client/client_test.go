package client

import (
	"io/fs"
	"strings"
	"testing"
	"time"

	"gatewayd/bus"
)

// The advice to wait longer is given when the client's own wait has ended, not when an actor
// answers that it has waited for another one in vain.
func TestWhoHasWaited(t *testing.T) {
	c := &Client{Timeout: 10 * time.Second}
	for _, x := range []struct{ text, want string }{
		{bus.NoAnswer, "no answer within 10s: allow more time with --timeout, or see gatewayd tree"},
		{"unit 7: no answer in time: the write may or may not have been carried out",
			"unit 7: no answer within 10s: the write may or may not have been carried out: allow more time with --timeout, or see gatewayd tree"},
		{"unit 7: no answer within 1s", "unit 7: no answer within 1s"},
	} {
		if got := c.Explain(bus.Errorf(bus.DeadlineExceeded, "%s", x.text)).Error(); got != x.want {
			t.Errorf("got %s, want %s", got, x.want)
		}
	}
}

// A data directory that may not be read is told apart from one without a running gateway.
func TestDataDirectoryThatTellsNothing(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrPermission: "cannot be read by this user",
		fs.ErrNotExist:   "no gateway runs with this data directory",
	} {
		wrapped := &fs.PathError{Op: "stat", Path: "data/bus.url", Err: err}
		if got := noAddress("data", wrapped).Error(); !strings.HasPrefix(got, "--data data") || !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
}
