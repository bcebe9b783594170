package natssend_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/natssend"
	"gatewayd/protocols/stranger/strangertest"
	"gatewayd/protocols/uplink"
)

// A peer that is no NATS server is not mistaken for a slow one.
func TestWhoAnswersInstead(t *testing.T) {
	for name, c := range map[string]struct{ at, want string }{
		"nobody":   {strangertest.Says(t, ""), "accepts the connection but sends no greeting in time: is it a NATS server?"},
		"ssh":      {strangertest.Says(t, "SSH-2.0-OpenSSH_9.2p1\r\n"), "is not a NATS server: its greeting is of another protocol"},
		"hangs up": {strangertest.Hangs(t), "closes the connection before the handshake is complete: is it a NATS server?"},
	} {
		limit := time.Minute
		if name == "nobody" {
			limit = 100 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		cfg := natssend.Config{URLs: []string{"nats://" + c.at}, Form: webhook(t, "a")}
		_, err := cfg.Dial(ctx, uplink.Callbacks{Lost: func(error) {}})
		if cancel(); err == nil || !strings.Contains(err.Error(), "server "+c.at+" "+c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
