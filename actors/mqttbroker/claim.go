package mqttbroker

import (
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
)

// passTime is how long whoever has claimed a topic may take to answer: its own
// deadlines are shorter.
const passTime = 20 * time.Minute

// claim gives an actor what clients publish on a topic.
func (b *broker) claim(c *actors.Context, m *mqtt.Claim) {
	if err := b.claims.Take(*m, time.Now()); err != nil {
		c.Refuse(err)
		return
	}
	if b.server == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "the broker does not listen yet"))
		return
	}
	c.Reply(m)
}

// pass hands a publish to the actor that has claimed its topic.
func (s *session) pass(c *actors.Context, m *mqtt.Incoming) {
	if path, ok := s.claims.Path(m.Topic); ok {
		c.As(command{client: m.Client, reply: m.Publish}.caller()).Ask(path, m, passTime)
	}
}

// bring publishes its answer.
func (s *session) bring(c *actors.Context, m *mqtt.Outgoing) {
	var err error
	switch {
	case m.To == nil:
		return
	case m.To.ResponseTopic != "":
		err = s.server.Respond(m.To.Client, m.To.Publish, m.Payload, mqtt.Properties{})
	default:
		err = s.server.Publish(m.Topic, m.Payload, false, mqtt.Properties{})
	}
	if err != nil {
		c.Log().Debug("answer not sent", "client", m.To.Client.ID, "err", err)
	}
}
