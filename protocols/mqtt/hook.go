package mqtt

import (
	"fmt"
	"slices"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
)

// inlineID is the id of the library's own client. No other client may have it.
const inlineID = mochi.InlineClientId

// hook is the broker's only hook. There must be only one, because the library accepts a yes from
// any hook. Which clients may connect is decided in connect.go, without the hook. Each method
// recovers, because the library calls some of them in unguarded goroutines.
type hook struct {
	mochi.HookBase
	*Server
}

func (h *hook) ID() string { return "gatewayd" }

func (h *hook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mochi.OnACLCheck, mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnPacketProcessed, mochi.OnSubscribe,
		mochi.OnSubscribed, mochi.OnUnsubscribed, mochi.OnPublish,
		mochi.OnQosDropped,
	}, b)
}

// OnACLCheck is called for publishes, filters and every delivery.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) (ok bool) {
	defer h.recovered("authorize", func() { ok = false })
	c := connOf(cl)
	if c == nil {
		return cl.Net.Inline
	}
	if write {
		ok = h.mayWrite(c.info, topic) || topic == deniedTopic && c.info.Version < 5
	} else {
		ok = h.mayRead(c.info, topic)
	}
	if !ok {
		h.deny(c, topic, write)
		if write && c.ready.Load() {
			if h.cfg.OnDenied != nil {
				h.cfg.OnDenied(c.info, Publish{Topic: topic, Payload: c.payload})
			}
			// OnPublish, which knows the whole packet, refuses it.
			c.forbidden = h.cfg.OnForbidden != nil && h.cfg.Intercept(topic)
			return c.forbidden
		}
	}
	return ok
}

// deny counts a publish or a subscription that a client may not make.
func (h *hook) deny(c *conn, topic string, write bool) {
	h.stats.denied.Add(1)
	what := "subscribe to"
	if write {
		what = "publish on"
	}
	if topic == deniedTopic {
		topic = c.asked
	}
	c.refused(access.RefusedTopic, fmt.Errorf("it may not %s %q", what, topic))
}

// OnPacketEncode tells MQTT 5 clients the limits in force; the library does not.
func (h *hook) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0 {
		pk.Properties.MaximumPacketSize = uint32(h.cfg.MaxPacket)
		if c := connOf(cl); c != nil && c.reduced {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = h.expirySeconds(), true
		}
	}
	if c := connOf(cl); c != nil && pk.FixedHeader.Type == packets.Disconnect {
		c.turnedOut.Store(true)
	}
	if pk.FixedHeader.Type == packets.Puback || pk.FixedHeader.Type == packets.Pubrec {
		pk.Properties.ReasonString = "" // the reason code is sufficient
	}
	return pk
}

// OnQosDropped releases the queue space of an expired message.
func (h *hook) OnQosDropped(cl *mochi.Client, pk packets.Packet) {
	defer h.recovered("expiry", nil)
	left := 0 // the library does not say which message expired
	for _, pk := range cl.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Publish {
			left += messageSize(&pk)
		}
	}
	h.sessions.set(cl.ID, left)
	h.keepPacket(cl, pk.PacketID)
}

func (h *hook) recovered(what string, then func()) {
	if p := recover(); p != nil {
		h.panicked(what, p)
		if then != nil {
			then()
		}
	}
}
