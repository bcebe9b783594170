package mqtt

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// message is one publish on its way to many clients. Its QoS 0 forms are encoded only once each.
type message struct {
	pk       *packets.Packet
	form     [2][2]bytes.Buffer // [MQTT 5][retain flag]; empty: not encoded yet
	borrowed bool               // the payload belongs to the publisher: copy it before keeping it
	own      packets.Packet     // storage for pk
	out      packets.Packet     // storage for the packet being encoded
}

// message returns a recycled message for pk. Nothing may refer to it after fanout; it is returned
// with spare.
func (s *Server) message(pk packets.Packet) *message {
	m, _ := s.messages.Get().(*message)
	if m == nil {
		m = &message{}
	}
	m.own = pk
	m.pk = &m.own
	return m
}

func (s *Server) spare(m *message) {
	m.own, m.out, m.borrowed = packets.Packet{}, packets.Packet{}, false
	for i := range m.form {
		for k := range m.form[i] {
			m.form[i][k].Reset()
			if m.form[i][k].Cap() > largestForm {
				m.form[i][k] = bytes.Buffer{}
			}
		}
	}
	s.messages.Put(m)
}

// largestForm is the largest buffer that is kept for reuse.
const largestForm = 64 << 10

// fanout stores m if it is to be kept and delivers it to every subscriber. It replaces the
// library's own function, which limits queues by the number of packets (64, less than a burst) and
// wakes a goroutine for each packet.
func (s *Server) fanout(m *message, keep bool) {
	pk := m.pk
	pk.FixedHeader.Type = packets.Publish
	pk.Created = time.Now().Unix()
	pk.ProtocolVersion = 5 // only messages of this version can expire
	pk.Mods.AllowResponseInfo = true
	if e := pk.Properties.MessageExpiryInterval; e > 0 {
		pk.Expiry = pk.Created + int64(e)
	}
	if pk.FixedHeader.Retain && keep {
		s.retain(pk)
	}
	for _, r := range s.readers(pk) {
		if cl, ok := s.broker.Clients.Get(r.id); ok {
			s.deliver(cl, r, m, false)
		}
	}
	s.store.flush()
}

// retain keeps pk. The retained messages of clients survive the process; the owner publishes its
// own again.
func (s *Server) retain(pk *packets.Packet) {
	if pk.Origin != inlineID {
		s.keepRetainedMessage(pk)
	} else if s.store != nil {
		s.store.drop(keyRetained + pk.TopicName)
	}
	s.kept.take(pk, time.Now())
}

// deliver delivers m to one client. old marks a retained message for a new subscription.
func (s *Server) deliver(cl *mochi.Client, r reader, m *message, old bool) {
	c := connOf(cl)
	if c == nil || r.noLocal && m.pk.Origin == cl.ID && !old || !s.mayRead(c.info, m.pk.TopicName) {
		return
	}
	v5 := c.info.Version == 5
	retain := m.pk.FixedHeader.Retain && (old || v5 && r.asPublished)
	qos := min(m.pk.FixedHeader.Qos, r.qos)
	var ids []int
	if v5 {
		ids = r.ids
	}
	switch {
	case qos > 0:
		s.deliverQueued(cl, m, qos, retain, ids)
	case cl.Closed():
		return
	default:
		s.deliverNow(cl, c, m, v5, retain, ids)
	}
}

func identifiers(sub packets.Subscription) []int {
	var ids []int
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 && sub.Identifier > 0 {
		return []int{sub.Identifier}
	}
	slices.Sort(ids)
	return ids
}

func (s *Server) deliverNow(cl *mochi.Client, c *conn, m *message, v5, retain bool, ids []int) {
	b, err := m.encoded(v5, retain, ids)
	if most := cl.Properties.Props.MaximumPacketSize; err != nil || most > 0 && uint64(len(b)) > uint64(most) {
		s.lost(c)
		return
	}
	if _, err = c.Write(b); err != nil {
		cl.Stop(err)
		s.lost(c)
		return
	}
	s.sent(c)
}

// encoded returns the QoS 0 form, shared between clients: Write neither keeps nor changes it.
func (m *message) encoded(v5, retain bool, ids []int) ([]byte, error) {
	buf := &m.form[index(v5)][index(retain)]
	if ids != nil {
		buf = &bytes.Buffer{}
	}
	if buf.Len() > 0 {
		return buf.Bytes(), nil
	}
	p := &m.out
	*p = *m.pk
	p.FixedHeader = packets.FixedHeader{Type: packets.Publish, Retain: retain}
	p.PacketID = 0
	p.ProtocolVersion = 4
	if v5 {
		p.ProtocolVersion = 5
	}
	p.Properties.SubscriptionIdentifier = ids
	if p.Expiry > 0 {
		p.Properties.MessageExpiryInterval = uint32(min(max(p.Expiry-time.Now().Unix(), 1), math.MaxUint32))
	}
	buf.Grow(messageSize(p) + 32)
	if err := p.PublishEncode(buf); err != nil {
		buf.Reset()
		return nil, err
	}
	return buf.Bytes(), nil
}

func index(b bool) int {
	if b {
		return 1
	}
	return 0
}

// deliverQueued sends with QoS 1 or 2, or stores for a client that is away, within the limits of
// its session.
func (s *Server) deliverQueued(cl *mochi.Client, m *message, qos byte, retain bool, ids []int) {
	if m.borrowed {
		m.pk.Payload, m.borrowed = bytes.Clone(m.pk.Payload), false
	}
	out := *m.pk
	out.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: qos, Retain: retain}
	out.Properties.SubscriptionIdentifier = ids
	cl, c, ok := s.enqueue(cl, &out)
	if !ok {
		s.lost(c)
		return
	}
	if cl.Closed() {
		return
	}
	err := cl.WritePacket(out)
	switch {
	case err == nil:
		s.sent(c)
	// For this client the message does not exist (MQTT 5 §3.1.2.11.4).
	case errors.Is(err, packets.ErrPacketTooLarge):
		cl.State.Inflight.Delete(out.PacketID)
		s.keepPacket(cl, out.PacketID)
		s.sessions.settle(cl.ID, messageSize(&out))
		s.lost(c)
	default:
		cl.Stop(err)
	}
}

// enqueue puts a message into the session of a client, under a packet id. If a newer connection is
// taking over the session, enqueue waits and uses that one. A message put into the older one
// afterwards would never be sent.
func (s *Server) enqueue(cl *mochi.Client, out *packets.Packet) (*mochi.Client, *conn, bool) {
	place := s.place(cl.ID)
	place.Lock()
	defer place.Unlock()
	c, size := connOf(cl), messageSize(out)
	now, ok := s.broker.Clients.Get(cl.ID)
	switch {
	case !ok, now != cl && c.afresh.Load(): // the session has ended
		return cl, c, false
	case now != cl:
		cl, c = now, connOf(now)
	}
	if cl.State.Inflight.Len() >= s.mostQueued(cl) || !s.sessions.queue(cl.ID, size, s.queueLimit(cl)) {
		return cl, c, false
	}
	id, err := cl.NextPacketID()
	if err != nil {
		s.sessions.settle(cl.ID, size)
		return cl, c, false
	}
	out.PacketID = uint16(id)
	cl.State.Inflight.Set(*out)
	s.keepPacket(cl, out.PacketID)
	return cl, c, true
}

// whileThere is the factor by which a connected client may exceed MaxQueued: on a busy machine,
// acknowledgements that it has sent may not have been read yet.
const whileThere = 4

func (s *Server) mostQueued(cl *mochi.Client) int {
	if cl.Closed() {
		return s.cfg.MaxQueued
	}
	return max(s.cfg.MaxQueued, min(whileThere*s.cfg.MaxQueued, ownIDs/2))
}

func (s *Server) queueLimit(cl *mochi.Client) int {
	if cl.Closed() {
		return s.cfg.SessionBytes
	}
	return s.cfg.WriteBuffer / 2 // so that all of it fits into the buffer when the session resumes
}

// sendRetained sends the retained messages to a new subscriber, in the subscriber's own goroutine
// and as fast as it reads.
func (s *Server) sendRetained(cl *mochi.Client, c *conn, g grant) {
	if mochi.IsSharedFilter(g.sub.Filter) || g.sub.RetainHandling == 2 || g.sub.RetainHandling == 1 && g.existed {
		return
	}
	s.sendSys(cl, c, g.sub)
	for _, topic := range s.kept.topics(g.sub.Filter) {
		if pk, ok := s.kept.packet(topic); ok && !s.sendOld(cl, c, g.sub, &pk) {
			return
		}
	}
	if s.cfg.Made != nil {
		s.sendMade(cl, c, g.sub)
	}
}

// sendMade sends the messages that the owner generates.
func (s *Server) sendMade(cl *mochi.Client, c *conn, sub packets.Subscription) {
	s.cfg.Made(sub.Filter, func(topic string, make func() ([]byte, string)) bool {
		if !s.mayRead(c.info, topic) {
			return true
		}
		payload, typ := make()
		if len(payload) == 0 {
			return true
		}
		pk := packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1, Retain: true}, ProtocolVersion: 5,
			TopicName: topic, Payload: payload, Origin: inlineID, Created: time.Now().Unix(), Properties: packets.Properties{ContentType: typ},
		}
		if messageSize(&pk) > s.cfg.MaxPacket {
			s.cfg.Log.Warn("mqtt: a generated message does not fit into a packet", "topic", topic, "bytes", len(payload))
			return true
		}
		return s.sendOld(cl, c, sub, &pk)
	})
}

// sendOld returns false if the client is too slow and was disconnected.
func (s *Server) sendOld(cl *mochi.Client, c *conn, sub packets.Subscription, pk *packets.Packet) bool {
	if !waitRoom(c, messageSize(pk)) {
		cl.Stop(errSlow)
		return false
	}
	// Acknowledgements are read by this same goroutine: beyond half a window do not request any.
	if cl.State.Inflight.Len() >= s.cfg.MaxQueued/2 || s.sessions.queued(cl.ID)+messageSize(pk) > s.cfg.WriteBuffer/4 {
		sub.Qos = 0
	}
	pk.Mods.AllowResponseInfo = true
	s.deliver(cl, readerOf(cl.ID, sub), &message{pk: pk}, true)
	return true
}

// waitRoom waits until n more bytes fit easily. It returns false if the client takes nothing.
func waitRoom(c *conn, n int) bool {
	for range int(stallTimeout / (5 * time.Millisecond)) {
		if c.room(n) {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}
