package mdi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/stranger/strangertest"
	"gatewayd/protocols/uplink"
)

// A peer that is no receiver is distinguished from a slow one, and identified if possible.
func TestWhoAnswersInstead(t *testing.T) {
	for name, c := range map[string]struct{ at, want string }{
		"nobody":   {strangertest.Says(t, ""), "it accepts the connection but does not open the session: is it an MDI receiver?"},
		"mqtt":     {strangertest.SaysOnce(t, "\x20\x02\x00\x01"), "an MQTT broker answers there, not an MDI receiver"},
		"http":     {strangertest.SaysOnce(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "a web server (HTTP) answers there, not an MDI receiver"},
		"hangs up": {strangertest.Closes(t), "the other side closed the connection without opening the session"},
	} {
		limit := time.Minute
		if name == "nobody" {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := newSession(patience).Dial(ctx, Target{Address: c.at}, uplink.Callbacks{})
		if cancel(); err == nil || !strings.Contains(err.Error(), "tcp://"+c.at+": ") || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) != (name == "nobody") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
