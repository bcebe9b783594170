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
		"nobody":   {strangertest.Says(t, ""), "it takes the connection and does not open the session: is that a receiver of MDI?"},
		"mqtt":     {strangertest.SaysOnce(t, "\x20\x02\x00\x01"), "there answers an MQTT broker, no receiver of MDI"},
		"http":     {strangertest.SaysOnce(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "there answers a web server (HTTP), no receiver of MDI"},
		"hangs up": {strangertest.Closes(t), "the other side closes the connection instead of opening the session"},
	} {
		limit := time.Minute
		if name == "nobody" {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := newSession(patience).Dial(ctx, Target{Address: c.at}, uplink.Hear{})
		if cancel(); err == nil || !strings.Contains(err.Error(), "tcp://"+c.at+": ") || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) != (name == "nobody") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
