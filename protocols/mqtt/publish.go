package mqtt

import (
	"bytes"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Publish sends a message to all subscribers, at their QoS but at most 1, and retains it if retain
// is set (an empty payload then removes the retained message). It never waits for a client and
// keeps no reference to payload.
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

// Announce sends the present content of a topic of Config.Made to its subscribers; empty content
// means that the topic is gone. make is called only if there is a subscriber.
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

// Respond answers a publish of c on ReplyTopic, with the correlation data of the request. The
// client must be allowed to write to that topic, so that it cannot make the broker publish
// elsewhere.
func (s *Server) Respond(c ClientInfo, to Publish, payload []byte, p Properties) error {
	topic := ReplyTopic(c, to)
	if !s.mayReply(c, topic) {
		return fmt.Errorf("respond to client %q: topic %q is not allowed for this client", c.ID, topic)
	}
	p.CorrelationData = to.CorrelationData
	return s.Publish(topic, payload, false, p)
}
