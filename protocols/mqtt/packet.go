package mqtt

import (
	"errors"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnPacketRead sees every packet of a client before the library processes it. It can refuse one
// only by ending the connection.
func (h *hook) OnPacketRead(cl *mochi.Client, pk packets.Packet) (_ packets.Packet, err error) {
	defer h.recovered("read", func() { err = packets.ErrRejectPacket })
	c := connOf(cl)
	if !c.ready.Load() {
		return pk, nil
	}
	// The library can delete a client from its table while a new connection of the same id is set
	// up. Such a client would never receive anything again: end its connection, so that it
	// reconnects.
	if cur, ok := h.broker.Clients.Get(cl.ID); !ok || cur != cl {
		return pk, packets.ErrRejectPacket
	}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		h.stats.messagesIn.Add(1)
		c.traffic.messagesIn.Add(1)
		c.payload, c.forbidden = pk.Payload, false
		if strings.HasPrefix(pk.TopicName, "$") {
			c.asked = pk.TopicName
			pk.TopicName = deniedTopic
		}
		if pk.FixedHeader.Qos > 0 {
			pk.PacketID = h.inboundID(cl, c, pk.PacketID)
		}
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		pk.PacketID = h.inboundID(cl, c, pk.PacketID)
		if pk.FixedHeader.Type == packets.Pubrel && h.store != nil && !endsWithConnection(cl) {
			h.store.drop(queueKey(cl.ID, pk.PacketID)) // before the client is told and reuses its id
			h.store.flush()
		}
	case packets.Puback, packets.Pubrec, packets.Pubcomp:
		h.acknowledge(cl, c, pk)
	case packets.Disconnect:
		// The client may change the expiry with DISCONNECT; the library does not limit that.
		p := &pk.Properties
		if own := &cl.Properties.Props.SessionExpiryInterval; p.SessionExpiryIntervalFlag && (*own > 0 || p.SessionExpiryInterval == 0) {
			*own = min(p.SessionExpiryInterval, h.expirySeconds())
			p.SessionExpiryIntervalFlag = false
		}
	}
	return pk, nil
}

// deniedTopic stands for every topic beginning with $ that a client publishes to. The library would
// never acknowledge $SYS/… and $share/…; for this topic it calls OnACLCheck, which says no. A
// client of MQTT 3.1.1, which cannot be told, is passed on to OnPublish: its publish is
// acknowledged and discarded, one of the two options in §3.3.5.
const deniedTopic = "$denied"

func (h *hook) inboundID(cl *mochi.Client, c *conn, id uint16) uint16 {
	if id == 0 {
		return 0 // the library refuses it
	}
	return c.flow.inbound(id, func(n uint16) bool {
		_, used := cl.State.Inflight.Get(n)
		return used
	})
}

func (h *hook) acknowledge(cl *mochi.Client, c *conn, pk packets.Packet) {
	if sent, ok := cl.State.Inflight.Get(pk.PacketID); ok && sent.FixedHeader.Type == packets.Publish {
		h.sessions.settle(cl.ID, messageSize(&sent))
	}
	if pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode < 0x80 {
		return
	}
	if err := c.acknowledged(); err != nil {
		cl.Stop(err)
	}
}

// OnSubscribe handles retained messages instead of the library, which would drop all beyond its
// short queue.
func (h *hook) OnSubscribe(cl *mochi.Client, pk packets.Packet) (out packets.Packet) {
	out = pk
	defer h.recovered("subscribe", func() { out.Filters = nil })
	c := connOf(cl)
	if c == nil {
		return pk
	}
	out.Filters = make(packets.Subscriptions, len(pk.Filters))
	c.granted = make([]grant, len(pk.Filters))
	for i, sub := range pk.Filters {
		_, existed := cl.State.Subscriptions.Get(sub.Filter)
		c.granted[i] = grant{sub: sub, existed: existed}
		if checkFilter(sub.Filter) != nil {
			sub.Filter = "" // the library refuses it with the right code
		}
		sub.RetainHandling = 2
		out.Filters[i] = sub
	}
	return out
}

// OnSubscribed notes which filters were granted.
func (h *hook) OnSubscribed(cl *mochi.Client, pk packets.Packet, codes []byte) {
	defer h.recovered("subscribe", nil)
	h.audience.changed(filtersOf(pk))
	c := connOf(cl)
	if c == nil {
		return
	}
	var filters []string
	for i, code := range codes {
		if i < len(c.granted) && code <= 2 {
			c.granted[i].ok = true
			filters = append(filters, c.granted[i].sub.Filter)
		}
	}
	h.keepSession(cl)
	if len(filters) > 0 {
		h.tell(SessionEvent{Kind: SessionSubscribed, Client: c.info, Filters: filters})
	}
}

// OnUnsubscribed handles filters that the client gives up.
func (h *hook) OnUnsubscribed(cl *mochi.Client, pk packets.Packet) {
	defer h.recovered("unsubscribe", nil)
	filters := filtersOf(pk)
	h.audience.changed(filters)
	c := connOf(cl)
	if c == nil || len(filters) == 0 {
		return
	}
	h.keepSession(cl)
	h.tellUnsubscribed(c, filters)
}

func filtersOf(pk packets.Packet) []string {
	filters := make([]string, len(pk.Filters))
	for i, f := range pk.Filters {
		filters[i] = f.Filter
	}
	return filters
}

// OnPacketProcessed sends retained messages after the SUBACK.
func (h *hook) OnPacketProcessed(cl *mochi.Client, pk packets.Packet, err error) {
	defer h.recovered("retained", nil)
	c := connOf(cl)
	if c == nil {
		return
	}
	c.payload = nil
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
	case packets.Puback, packets.Pubcomp, packets.Pubrec:
		h.keepPacket(cl, pk.PacketID)
		h.store.flush()
		return
	default:
		return
	}
	granted := c.granted
	c.granted = nil
	for _, g := range granted {
		if err == nil && g.ok {
			h.sendRetained(cl, c, g)
		}
	}
}

// OnPublish handles every publish of a client before it is acknowledged: commands go to their
// callback, the rest to the subscribers. The library only sends the acknowledgement.
func (h *hook) OnPublish(cl *mochi.Client, pk packets.Packet) (_ packets.Packet, err error) {
	defer h.recovered("publish", func() { err = h.notTaken(cl, pk, packets.ErrImplementationSpecificError) })
	c := connOf(cl)
	if c == nil {
		return pk, nil
	}
	if c.forbidden {
		c.forbidden = false
		if h.cfg.OnForbidden(c.info, publishOf(&pk)) && c.info.Version < 5 {
			return pk, packets.CodeSuccessIgnore
		}
		return pk, h.notTaken(cl, pk, packets.ErrNotAuthorized)
	}
	if pk.FixedHeader.Qos == 2 {
		h.keepTaken(cl, pk.PacketID)
	}
	if pk.TopicName == deniedTopic {
		h.deny(c, deniedTopic, true)
		return pk, packets.CodeSuccessIgnore
	}
	if !h.cfg.Intercept(pk.TopicName) {
		h.yield(c)
		m := h.message(pk)
		h.fanout(m, h.keepRetained(m.pk))
		h.passed(c.info, m.pk)
		h.spare(m)
		return pk, packets.CodeSuccessIgnore
	}
	in := publishOf(&pk)
	taken := errors.New("commands are not accepted")
	if at := in.ResponseTopic; at != "" && at != h.cfg.Usual(in.Topic) && !h.mayReply(c.info, at) {
		h.deny(c, at, true)
		taken = errors.New("response topic is not allowed for this client")
	} else if h.cfg.OnPublish != nil {
		taken = h.cfg.OnPublish(c.info, in)
	}
	if taken != nil {
		h.cfg.Log.Debug("mqtt: publish refused", "client", c.info.ID, "topic", in.Topic, "err", taken)
		return pk, h.notTaken(cl, pk, packets.ErrImplementationSpecificError)
	}
	return pk, packets.CodeSuccessIgnore
}

func publishOf(pk *packets.Packet) Publish {
	return Publish{
		Topic: pk.TopicName, Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain,
		Properties: propertiesFrom(pk.Properties),
	}
}

// passed informs the owner of messages that clients publish among themselves.
func (s *Server) passed(c ClientInfo, pk *packets.Packet) {
	if s.cfg.OnPassed != nil {
		s.cfg.OnPassed(c, publishOf(pk))
	}
}

// notTaken tells the client that its publish was not accepted. With a plain error the library would
// deliver it nevertheless.
//   - QoS 0: there is no way to tell.
//   - MQTT 5: PUBACK or PUBREC with the code; the library would answer QoS 2 with PUBACK.
//   - MQTT 3.1.1: either an acknowledgement or the end of the connection (§3.3.5), so the end.
func (h *hook) notTaken(cl *mochi.Client, pk packets.Packet, code packets.Code) error {
	switch {
	case pk.FixedHeader.Qos == 0:
		return packets.ErrRejectPacket
	case cl.Properties.ProtocolVersion < 5:
		cl.Stop(code)
		return packets.ErrRejectPacket
	case pk.FixedHeader.Qos == 1:
		return code
	}
	_ = cl.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Pubrec},
		PacketID:    pk.PacketID, ReasonCode: code.Code,
	})
	return packets.ErrRejectPacket
}
