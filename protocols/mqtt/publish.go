package mqtt

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Publish sends a message to all subscribers, at their QoS but never above 1, and keeps it if retain is set (an empty
// payload then removes what was kept). It never waits for a client and keeps no reference to payload.
func (s *Server) Publish(topic string, payload []byte, retain bool, p Properties) (err error) {
	defer s.recoveredInto("publish", &err)
	if s.closing.Load() {
		return ErrClosed
	}
	if err := checkTopic(topic); err != nil {
		return fmt.Errorf("publish to %q: %w", topic, err)
	}
	m := s.message(packets.Packet{
		FixedHeader: packets.FixedHeader{Qos: 1, Retain: retain},
		TopicName:   topic,
		Payload:     payload,
		Origin:      inlineID,
		Properties:  p.wire(),
	})
	defer s.spare(m)
	if n := messageSize(m.pk); n > s.cfg.MaxPacket {
		return fmt.Errorf("publish to %q: %d bytes: at most %d fit into a packet", topic, n, s.cfg.MaxPacket)
	}
	if m.borrowed = !retain; retain {
		m.pk.Payload = bytes.Clone(payload)
	}
	s.fanout(m, true)
	return nil
}

// Announce tells those who hear a topic of Config.Made what is there now; nothing: it has gone. make is asked only if somebody does.
func (s *Server) Announce(topic string, make func() (payload []byte, contentType string)) (err error) {
	defer s.recoveredInto("publish", &err)
	if s.closing.Load() {
		return ErrClosed
	}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Qos: 1, Retain: true}, TopicName: topic, Origin: inlineID}
	if len(s.readers(&pk)) == 0 {
		return nil
	}
	pk.Payload, pk.Properties.ContentType = make()
	m := s.message(pk)
	defer s.spare(m)
	s.fanout(m, false)
	return nil
}

// Respond answers a publish of c at ReplyTopic, with the correlation data of the request. The topic must be one that the
// client may write to, so that nobody can make the broker say things in places that are not his.
func (s *Server) Respond(c ClientInfo, to Publish, payload []byte, p Properties) error {
	topic := ReplyTopic(c, to)
	if !s.mayReply(c, topic) {
		return fmt.Errorf("respond to client %q: topic %q is not for this client", c.ID, topic)
	}
	p.CorrelationData = to.CorrelationData
	return s.Publish(topic, payload, false, p)
}
