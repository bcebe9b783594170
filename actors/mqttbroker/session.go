package mqttbroker

import (
	"errors"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// sessionKind is the kind of the session actors, one for each client. They are not in the config;
// the broker spawns them when clients connect.
func sessionKind(h *shared) *actors.Kind {
	k := actors.Define(actors.Kind{
		Name:     "mqtt-session",
		Doc:      "The session of one MQTT client.",
		Services: []protoreflect.ServiceDescriptor{actors.Service(mqttv1.File_mqtt_v1_session_proto, "SessionService")},
	}, func(cfg *mqttv1.Session) actors.Actor { return &session{shared: h, of: cfg} })
	return &k
}

// calm is how long a client must have had no trouble before its session is healthy again.
const calm = 15 * time.Second

// session is the actor of one client. Whatever the client does affects only this mailbox and this
// life.
type session struct {
	*shared
	of    *mqttv1.Session
	calls *mqtt.Calls
	ci    *mqtt.ClientInfo
	until time.Time // the client had trouble recently; degraded until then
	gone  *actors.Timer
}

type (
	attached struct { // a connection has taken over the session
		ci    *mqtt.ClientInfo
		of    *mqttv1.Session
		calls *mqtt.Calls
	}
	away   struct{} // the client has disconnected, and the session is kept
	absent struct{} // the client has been away for long
	strain struct{ why string }
	eased  struct{}
)

func (s *session) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case attached:
		s.ci, s.of, s.calls = m.ci, m.of, m.calls
		s.gone.Stop()
		c.OK()
	case away:
		s.gone.Stop()
		s.gone = c.After(maxCallTime, absent{})
		c.Unreachable("the client is away; its session is kept")
	case absent:
		s.yield()
	case strain:
		if s.until.IsZero() {
			c.After(calm, eased{})
		}
		s.until = time.Now().Add(calm)
		c.Degraded(m.why)
	case eased:
		s.relax(c)
	case *stream:
		s.stream(c, m)
	case *mqtt.Incoming:
		s.pass(c, m)
	case *streamed:
		s.over(m)
	case *mqttv1.StatusRequest:
		c.Reply(&mqttv1.StatusResponse{Status: s.status(c.Name(), s.of, *s.ci, s.calls)})
	case *mqttv1.DisconnectRequest:
		s.disconnect(c, m)
	case actors.Stopped:
		s.leave()
	case actors.Failed:
		return s.failed(c, m)
	}
	return nil
}

func (s *session) failed(c *actors.Context, m actors.Failed) error {
	of, ok := m.Of.(*mqtt.Incoming)
	if !ok {
		return m.Err
	}
	c.Log().Debug("publish not taken", "client", of.Client.ID, "topic", of.Topic, "err", m.Err)
	return nil
}

// leave gives up the calls under way, because the client is gone. A call with one answer is carried
// out all the same: many clients publish a call and disconnect.
func (s *session) leave() {
	if s.calls == nil {
		return
	}
	for _, u := range s.calls.Drain() {
		if u.Lasts {
			u.Cancel()
		}
		s.slots.Give()
	}
}

// yield cancels the streams of a client that is away, including those with nothing to send, because
// they occupy slots that others may need.
func (s *session) yield() {
	for _, u := range s.calls.All() {
		if u.Lasts {
			u.Cancel()
		}
	}
}

func (s *session) relax(c *actors.Context) {
	if left := time.Until(s.until); left > 0 {
		c.After(left, eased{})
		return
	}
	s.until = time.Time{}
	if s.server.Present(*s.ci) {
		c.OK()
	}
}

// disconnect ends the session, and with it this actor.
func (s *session) disconnect(c *actors.Context, m *mqttv1.DisconnectRequest) {
	switch {
	case m.ClientId != "" && m.ClientId != s.ci.ID:
		c.Refuse(errors.New("the session now belongs to another client: " + s.ci.ID))
	case !s.server.Cut(*s.ci):
		c.Refuse(errors.New("the client has just disconnected"))
	default:
		c.Reply(&mqttv1.DisconnectResponse{})
	}
}
