package mqtt

import (
	"errors"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
)

// enter processes CONNECT and accepts the client. Together with step and leave it replaces the
// library's EstablishConnection, which needs two goroutines and 20 KB of stack per idle client, and
// loses a client when its old connection ends while the new one starts.
func (s *Server) enter(c *conn) error {
	cl := s.broker.NewClient(c, listenerID, "", false)
	c.client = cl
	clean, err := s.welcome(cl, c)
	if err != nil {
		return err
	}
	present := s.seat(cl, c, clean)
	c.seated = true
	return s.greet(cl, c, present)
}

// greet answers CONNECT.
func (s *Server) greet(cl *mochi.Client, c *conn, present bool) (err error) {
	defer s.survive(c, &err)
	if s.closing.Load() {
		return ErrClosed // shutdown may have looked just before ready was set
	}
	if endsWithConnection(cl) {
		s.forgetSession(cl.ID)
	} else {
		s.keepSession(cl)
	}
	if err := s.open(cl, c, present); err != nil {
		return err
	}
	c.refresh(cl.State.Keepalive)
	return nil
}

// leave handles the end of a connection, whatever the cause.
func (s *Server) leave(c *conn, err error) {
	defer c.client.Stop(nil)
	if c.seated {
		s.depart(c.client, c, err)
	}
}

func (s *Server) survive(c *conn, err *error) {
	if p := recover(); p != nil {
		s.panicked("packet of client "+c.info.ID, p)
		c.abort()
		*err = errPanicked
	}
}

// welcome reads CONNECT and decides about it. If it returns an error, the client has been told and
// the connection must end.
func (s *Server) welcome(cl *mochi.Client, c *conn) (clean bool, err error) {
	var fh packets.FixedHeader
	if err := cl.ReadFixedHeader(&fh); err != nil {
		return false, err
	}
	if fh.Type != packets.Connect {
		return false, errNotMQTT
	}
	pk, err := cl.ReadPacket(&fh)
	if err != nil {
		return false, err
	}
	c.consumed(fh.Remaining)
	cl.ParseConnect(listenerID, pk)
	s.introduce(cl, c, &pk)
	if code := pk.ConnectValidate(); code != packets.CodeSuccess {
		return false, s.turnAway(cl, code, code)
	}
	if pk.Connect.ClientIdentifier == "" && pk.ProtocolVersion < 5 && !pk.Connect.Clean {
		return false, s.turnAway(cl, packets.ErrClientIdentifierNotValid, errors.New("a stored session needs a client id"))
	}
	if code, why := s.judge(cl, c, &pk); why != nil {
		return false, s.turnAway(cl, code, why)
	}
	if c.info.Session, err = s.session(c.info, pk.Connect.Password); err != nil {
		return false, s.turnAway(cl, packets.ErrServerBusy, err)
	}
	c.taken = true
	c.ready.Store(true)
	return pk.Connect.Clean, nil
}

// introduce fills in ClientInfo and adjusts values that the library would accept from the client
// unchecked.
func (s *Server) introduce(cl *mochi.Client, c *conn, pk *packets.Packet) {
	c.info = ClientInfo{
		ID: cl.ID, Assigned: pk.Connect.ClientIdentifier == "", Username: string(pk.Connect.Username), Remote: cl.Net.Remote,
		Version: pk.ProtocolVersion, Clean: pk.Connect.Clean, conn: c,
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
	p.ReceiveMaximum = 0 // flow handles it: with 0 the library never enters the branch that deadlocks
	cl.State.Inflight.ResetSendQuota(0)
	// The library would store its own aliases with a message and send them again.
	c.alias.most = min(p.TopicAliasMaximum, maxAliases)
	p.TopicAliasMaximum = 0
	cl.State.TopicAliases = s.noAliases
	// 1.5 times more would overflow the library's uint16.
	cl.State.Keepalive = min(cl.State.Keepalive, 43690)
	c.reduced = p.SessionExpiryInterval > s.expirySeconds()
	p.SessionExpiryInterval = min(p.SessionExpiryInterval, s.expirySeconds())
	if most := s.cfg.MaxKeepAlive; most > 0 && pk.ProtocolVersion == 5 && (cl.State.Keepalive == 0 || cl.State.Keepalive > most) {
		cl.State.Keepalive, cl.State.ServerKeepalive = most, true
	}
	p.SessionExpiryIntervalFlag = false // the library would use the wall clock: maintain does it
	cl.Properties.Will.WillDelayInterval = min(cl.Properties.Will.WillDelayInterval, p.SessionExpiryInterval)
}

// judge decides whether the client is accepted: its id, its identity, whether the id is its own,
// and its will.
func (s *Server) judge(cl *mochi.Client, c *conn, pk *packets.Packet) (packets.Code, error) {
	if err := checkClientID(cl.ID); err != nil {
		return packets.ErrClientIdentifierNotValid, err
	}
	if cl.Properties.Props.AuthenticationMethod != "" {
		return packets.ErrBadAuthenticationMethod, errors.New("enhanced authentication is not supported")
	}
	asking := c.info
	asking.Password = pk.Connect.Password
	identity, err := s.authenticate(asking)
	switch {
	case errors.Is(err, access.ErrClosed), errors.Is(err, access.ErrBusy):
		return packets.ErrServerUnavailable, err
	case err != nil:
		return packets.ErrBadUsernameOrPassword, err
	}
	c.info.Identity = identity
	if old, found := s.broker.Clients.Get(cl.ID); found && connOf(old).info.owner() != c.info.owner() {
		return packets.ErrClientIdentifierNotValid, errors.New("client id belongs to another user")
	}
	if will := cl.Properties.Will; will.Flag != 0 && !s.mayLeave(c.info, will.TopicName) {
		return packets.ErrNotAuthorized, errors.New("will topic is not allowed for this client")
	}
	return packets.CodeSuccess, nil
}

func (s *Server) authenticate(c ClientInfo) (id *access.Identity, err error) {
	defer s.recoveredInto("authenticate", &err)
	return s.cfg.Authenticate(c)
}

func (s *Server) session(c ClientInfo, password []byte) (session any, err error) {
	c.Password = password
	defer s.recoveredInto("open", &err)
	if s.cfg.Open == nil {
		return nil, nil
	}
	return s.cfg.Open(c)
}

// turnAway answers CONNECT with a refusal.
func (s *Server) turnAway(cl *mochi.Client, code packets.Code, why error) error {
	s.guard.refuse(cl.Net.Conn, why)
	c := connOf(cl)
	c.judged = true
	c.refused(turnedAway(code), why)
	_ = s.broker.SendConnack(cl, inVersion(cl, code), false, nil)
	cl.Stop(code)
	return why
}

// inVersion translates a refusal into the codes of the client's version: 3.1.1 has five (§3.2.2.3),
// and the library knows only some of them.
func inVersion(cl *mochi.Client, code packets.Code) packets.Code {
	if cl.Properties.ProtocolVersion >= 5 {
		return code
	}
	switch code {
	case packets.ErrNotAuthorized, packets.ErrBadAuthenticationMethod:
		return packets.Err3NotAuthorized
	case packets.ErrServerBusy:
		return packets.Err3ServerUnavailable
	}
	return code
}

// seat adds the client to the table and returns whether a session existed.
func (s *Server) seat(cl *mochi.Client, c *conn, clean bool) bool {
	place := s.place(cl.ID)
	place.Lock()
	present, gone := s.inherit(cl, c, clean)
	s.broker.Clients.Add(cl)
	place.Unlock()
	if present {
		s.wills.take(cl.ID)
	} else {
		s.tellWill(cl.ID)
	}
	s.tellUnsubscribed(c, gone)
	s.tell(SessionEvent{Kind: SessionConnected, Client: c.info})
	return present
}

// open sends CONNACK and the messages of the session.
func (s *Server) open(cl *mochi.Client, c *conn, present bool) error {
	if err := s.broker.SendConnack(cl, packets.CodeSuccess, present, nil); err != nil {
		return err
	}
	if present {
		if err := cl.ResendInflightMessages(true); err != nil {
			return err
		}
	}
	return c.established()
}

// inherit ends the previous connection of the id and takes over its session. With a clean start it
// returns the filters that are dropped instead.
func (s *Server) inherit(cl *mochi.Client, c *conn, clean bool) (present bool, gone []string) {
	old, ok := s.broker.Clients.Get(cl.ID)
	if !ok {
		return false, nil
	}
	o := connOf(old)
	anew := clean || endsWithConnection(old)
	o.afresh.Store(anew)
	o.replaced.Store(true)
	if !old.Closed() {
		s.hangUp(old, packets.ErrSessionTakenOver)
	}
	if anew {
		gone = s.unsubscribeAll(old)
		clearInflight(old)
		s.sessions.forget(cl.ID)
		s.forgetSession(cl.ID)
		return false, gone
	}
	c.flow.adopt(&o.flow)
	cl.State.Inflight = old.State.Inflight.Clone()
	cl.State.Inflight.ResetReceiveQuota(int32(s.broker.Options.Capabilities.ReceiveMaximum))
	// The tree knows subscriptions by client id: they stay where they are.
	for filter, sub := range old.State.Subscriptions.GetAll() {
		cl.State.Subscriptions.Add(filter, sub)
		old.State.Subscriptions.Delete(filter)
	}
	clearInflight(old)
	if next, err := old.NextPacketID(); err == nil {
		countTo(cl, uint16(next)) // packet ids show the order
	}
	return true, nil
}

// clearInflight empties a client's inflight store without the library's hooks, which would count it
// twice.
func clearInflight(cl *mochi.Client) {
	for _, pk := range cl.State.Inflight.GetAll(false) {
		cl.State.Inflight.Delete(pk.PacketID)
	}
}

func endsWithConnection(cl *mochi.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval == 0
	}
	return cl.Properties.Clean
}

var errTurnedOut = errors.New("it did something that is not allowed")
