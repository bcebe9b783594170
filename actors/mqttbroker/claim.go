package mqttbroker

import (
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
)

// passTime is how long the actor that has claimed a topic may take to answer. The deadlines of such
// actors are shorter.
const passTime = 20 * time.Minute

// claim gives an actor the messages that clients publish on a topic.
func (b *broker) claim(c *actors.Context, m *mqtt.Claim) {
	if err := b.claims.Take(*m, time.Now()); err != nil {
		c.Refuse(err)
		return
	}
	if b.server == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "the broker is not listening yet"))
		return
	}
	c.Reply(m)
}

// pass hands a PUBLISH to the actor that has claimed its topic.
func (s *session) pass(c *actors.Context, m *mqtt.Incoming) {
	if path, ok := s.claims.Path(m.Topic); ok {
		server := s.server
		m.Answer = func(topic string, payload []byte) error {
			switch m.ResponseTopic {
			case "":
				return server.Publish(topic, payload, false, mqtt.Properties{})
			case topic: // the default answer topic, which the client need not be allowed to write to
				return server.Publish(topic, payload, false, mqtt.Properties{CorrelationData: m.CorrelationData})
			}
			return server.Respond(m.Client, m.Publish, payload, mqtt.Properties{})
		}
		c.As(command{client: m.Client, reply: m.Publish}.caller()).Ask(path, m, passTime)
	}
}
