package mqtt

import (
	"errors"
	"slices"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// inlineID is the id of the library's own client. Nobody else may have it.
const inlineID = mochi.InlineClientId

// hook is the only hook of the broker: the library takes the answer of any hook that says yes, so there must be one.
// Each method recovers, because the library calls some of them in goroutines that nobody guards.
type hook struct {
	mochi.HookBase
	*Server
}

func (h *hook) ID() string { return "gatewayd" }

func (h *hook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablish, mochi.OnSessionEstablished,
		mochi.OnDisconnect, mochi.OnPacketRead, mochi.OnPacketEncode, mochi.OnPacketProcessed, mochi.OnSubscribe,
		mochi.OnSubscribed, mochi.OnUnsubscribed, mochi.OnPublish, mochi.OnPublishDropped, mochi.OnWill, mochi.OnClientExpired,
		mochi.OnQosDropped,
	}, b)
}

// OnConnect settles what the library would take from the client unseen, before it is authenticated.
func (h *hook) OnConnect(cl *mochi.Client, pk packets.Packet) (err error) {
	defer h.recovered("connect", func() { err = packets.ErrUnspecifiedError })
	c := connOf(cl)
	c.client = cl
	c.info = ClientInfo{
		ID: cl.ID, Username: string(pk.Connect.Username), Remote: cl.Net.Remote,
		Version: pk.ProtocolVersion, Clean: pk.Connect.Clean,
	}
	if c.tls != nil {
		st := c.tls.ConnectionState()
		c.info.TLS = &st
	}
	p := &cl.Properties.Props
	c.flow.limit = unlimited
	if p.ReceiveMaximum > 0 {
		c.flow.limit = int(p.ReceiveMaximum)
	}
	p.ReceiveMaximum = 0 // flow does it: with 0 the library never enters the branch that deadlocks
	cl.State.Inflight.ResetSendQuota(0)
	p.TopicAliasMaximum = 0                                // a resent message would carry an alias of the old connection
	cl.State.Keepalive = min(cl.State.Keepalive, 43690)    // 1.5 × more overflows the library's uint16
	cl.Properties.Will.WillDelayInterval = h.willDelay(cl) // never longer than the session
	if bad := checkClientID(cl.ID); bad != nil {
		return h.turnAway(cl, packets.ErrClientIdentifierNotValid, bad)
	}
	if p.AuthenticationMethod != "" {
		return h.turnAway(cl, packets.ErrBadAuthenticationMethod, errors.New("enhanced authentication asked for"))
	}
	return nil
}

func (h *hook) willDelay(cl *mochi.Client) uint32 {
	return min(cl.Properties.Will.WillDelayInterval, cl.Properties.Props.SessionExpiryInterval, h.expirySeconds())
}

// turnAway answers CONNECT with a refusal; the library sends none for an error of OnConnect.
func (h *hook) turnAway(cl *mochi.Client, code packets.Code, why error) error {
	h.guard.refuse(cl.Net.Conn, why)
	_ = h.broker.SendConnack(cl, code, false, nil)
	cl.Stop(code)
	return code
}

// OnConnectAuthenticate asks who the client is, whether the id is his, and whether he may leave such a will.
func (h *hook) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) (ok bool) {
	defer h.recovered("authenticate", func() { ok = false })
	c := connOf(cl)
	asking := c.info
	asking.Password = pk.Connect.Password
	if err := h.cfg.Authenticate(asking); err != nil {
		h.guard.refuse(cl.Net.Conn, err)
		return false
	}
	if old, found := h.broker.Clients.Get(cl.ID); found {
		if o := connOf(old); o == nil || o.info.Username != c.info.Username {
			_ = h.turnAway(cl, packets.ErrClientIdentifierNotValid, errors.New("client id belongs to another user"))
			return false
		}
	}
	if will := cl.Properties.Will; will.Flag != 0 && !h.mayLeave(c.info, will.TopicName) {
		_ = h.turnAway(cl, packets.ErrNotAuthorized, errors.New("will topic is not for this client"))
		return false
	}
	c.ready.Store(true)
	return true
}

// mayLeave says whether a will may go to topic: what may be written but is no command, since nobody would get the answer.
func (h *hook) mayLeave(c ClientInfo, topic string) bool {
	return h.mayWrite(c, topic) && !h.cfg.Intercept(topic)
}

// OnACLCheck is asked for publishes, filters and every delivery.
func (h *hook) OnACLCheck(cl *mochi.Client, topic string, write bool) (ok bool) {
	defer h.recovered("authorize", func() { ok = false })
	c := connOf(cl)
	if c == nil {
		return cl.Net.Inline
	}
	if write {
		ok = h.mayWrite(c.info, topic)
	} else {
		ok = h.mayRead(c.info, topic)
	}
	if !ok {
		h.stats.denied.Add(1)
	}
	return ok
}

// OnSessionEstablish hands the packet ids that a previous connection of the session left open to this one.
func (h *hook) OnSessionEstablish(cl *mochi.Client, pk packets.Packet) {
	defer h.recovered("session", nil)
	if old, found := h.broker.Clients.Get(cl.ID); found && old != cl {
		if o := connOf(old); o != nil && !pk.Connect.Clean {
			connOf(cl).flow.adopt(&o.flow)
		}
	}
	if pk.Connect.Clean {
		h.sessions.forget(cl.ID)
	}
}

// OnSessionEstablished opens the way out.
func (h *hook) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	defer h.recovered("session", nil)
	c := connOf(cl)
	if err := c.established(); err != nil {
		cl.Stop(err)
	}
	h.tell(SessionEvent{Kind: SessionConnected, Client: c.info})
}

// OnDisconnect reports the end and keeps the number of stored sessions within its cap.
func (h *hook) OnDisconnect(cl *mochi.Client, err error, expire bool) {
	defer h.recovered("disconnect", nil)
	if cause := cl.StopCause(); cause != nil {
		err = cause
	}
	if errors.Is(err, packets.CodeDisconnect) {
		err = nil
	}
	h.tell(SessionEvent{Kind: SessionDisconnected, Client: connOf(cl).info, Err: err})
	if cl.IsTakenOver() {
		return
	}
	if expire {
		h.sessions.forget(cl.ID)
		return
	}
	h.trimSessions()
}

// OnClientExpired gives back the subscriptions of an expired session, which the library leaves in its tree: the next
// client of that id would get them.
func (h *hook) OnClientExpired(cl *mochi.Client) {
	defer h.recovered("expiry", nil)
	h.discard(cl)
}

// OnPacketEncode tells MQTT 5 clients what is taken; the library does not.
func (h *hook) OnPacketEncode(_ *mochi.Client, pk packets.Packet) packets.Packet {
	if pk.FixedHeader.Type == packets.Connack && pk.ReasonCode == 0 {
		pk.Properties.MaximumPacketSize = uint32(h.cfg.MaxPacket)
	}
	return pk
}

// OnPublishDropped counts what the library could not queue.
func (h *hook) OnPublishDropped(*mochi.Client, packets.Packet) { h.stats.dropped.Add(1) }

// OnQosDropped gives the queue space of an expired message back.
func (h *hook) OnQosDropped(cl *mochi.Client, pk packets.Packet) {
	defer h.recovered("expiry", nil)
	if pk.FixedHeader.Type == packets.Publish && !cl.IsTakenOver() { // a new connection has taken the messages over
		h.sessions.settle(cl.ID, messageSize(&pk))
	}
}

func (h *hook) recovered(what string, then func()) {
	if p := recover(); p != nil {
		h.panicked(what, p)
		if then != nil {
			then()
		}
	}
}
