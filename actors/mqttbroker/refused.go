package mqttbroker

import (
	"time"

	"gatewayd/actors"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// refusedEvery is how often it is told what was refused: so often at most for each reason, whatever somebody tries.
const refusedEvery = 5 * time.Second

type lookRefused struct{}

// tellRefused says what was refused since the last time.
func (b *broker) tellRefused(c *actors.Context) {
	for _, r := range b.server.Refusals() {
		n := r.Count - b.refused[r.Reason]
		if n == 0 {
			continue
		}
		if b.refused == nil {
			b.refused = map[string]uint64{}
		}
		b.refused[r.Reason] = r.Count
		m := &mqttv1.Refused{Reason: r.Reason, Count: n, Remote: r.Remote, ClientId: r.Client, Cause: r.Cause}
		switch {
		case r.Identity != "":
			m.Caller = "user/" + r.Identity
		case r.Client != "":
			m.Caller = "mqtt/" + r.Client
		}
		c.Event("refused", m)
	}
}
