package mqttbroker

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
)

const (
	maxCalls       = 1024 // open at once
	maxClientCalls = 64   // open at once, of one client
	maxCallTime    = 5 * time.Minute
	jsonType       = "application/json"
	protobufType   = "application/protobuf"
)

// command is a call that a client has published.
type command struct {
	client mqtt.ClientInfo
	reply  mqtt.Publish // the publish, with the topic its answer goes to if that is not the usual one
	topic  string       // cmd/<path>/<Method>
}

// parse takes a publish on cmd/ apart. A client of MQTT 3.1.1, which has no
// correlation data, may add one token of its own to the topic: what it publishes
// on cmd/<path>/<Method>/<token> is answered on reply/<client id>/<token>.
func parse(client mqtt.ClientInfo, p mqtt.Publish) command {
	m := command{client: client, reply: p, topic: method(p.Topic)}
	rest := p.Topic[len(m.topic):]
	suffix, token, ok := strings.Cut(rest, "/")
	if ok && p.ResponseTopic == "" {
		m.reply.ResponseTopic = "reply/" + client.ID + "/" + token
	}
	if m.reply.ContentType == "" {
		_, m.reply.ContentType = typed(suffix)
	}
	return m
}

// method is cmd/<path>/<Method> without the token that may follow.
func method(topic string) string {
	rest, token := cut(topic)
	if _, name := cut(rest); token != "" && name != "" && name[0] >= 'A' && name[0] <= 'Z' {
		topic = rest
	}
	topic, _ = typed(topic)
	return topic
}

// typed splits off the suffix by which a client of MQTT 3.1.1 says what its payload
// is, and with it the answer: cmd/<path>/<Method>.pb or .json.
func typed(topic string) (bare, contentType string) {
	if bare, ok := strings.CutSuffix(topic, ".pb"); ok {
		return bare, protobufType
	}
	bare, _ = strings.CutSuffix(topic, ".json")
	return bare, jsonType
}

// cut splits the last token off a topic.
func cut(topic string) (rest, token string) {
	i := strings.LastIndexByte(topic, '/')
	if i < 0 {
		return "", topic
	}
	return topic[:i], topic[i+1:]
}

// timeout is how long the call may take: as long as its sender says it is of use.
func (m command) timeout(usual time.Duration) time.Duration {
	if m.reply.Expiry > 0 {
		return min(m.reply.Expiry, maxCallTime)
	}
	return usual
}

// caller is who calls, as far as the broker knows him.
func (m command) caller() actors.Caller {
	w := actors.Caller{Identity: "mqtt/" + m.client.ID}
	if id := m.client.Identity; id != nil && id.Name != access.Anonymous {
		w.Identity = "user/" + id.Name
	}
	for _, u := range m.reply.User {
		if strings.EqualFold(u.Key, "traceparent") {
			w.Trace, w.Span = actors.ParseParent(u.Value)
		}
	}
	return w
}

// begin lets one more call in, or says why not.
func (s *session) begin() error {
	if !s.calls.Take(maxClientCalls) {
		return fmt.Errorf("%d calls of this client are open already", maxClientCalls)
	}
	if !s.slots.Take(maxCalls) {
		s.calls.Give()
		return fmt.Errorf("%d calls are open already", maxCalls)
	}
	return nil
}

func (s *session) end() {
	s.calls.Give()
	s.slots.Give()
}

func (s *session) call(c *actors.Context, m command) {
	if s.gate.Guarded() && s.gate.Out(m.client.Identity) {
		return
	}
	if err := s.begin(); err != nil {
		s.respond(c, m, failure("resource_exhausted", err.Error()), errorProperties("resource_exhausted"))
		return
	}
	u := &underWay{command: m}
	s.open.add(u)
	u.cancel = c.As(m.caller()).Call(m.topic, m.reply.ContentType, m.reply.Payload, m.timeout(s.cfg.CallTimeout.AsDuration()), u)
}

// answer passes the outcome of a call on. The end of a stream is an empty message.
func (s *session) answer(c *actors.Context, r actors.Called) {
	u := r.Tag.(*underWay)
	m := u.command
	if !r.More {
		s.open.remove(u)
		s.end()
	}
	switch {
	case r.Err != nil:
		code, text := actors.Explain(r.Err)
		s.respond(c, m, failure(code, m.topic+": "+text), errorProperties(code))
	case r.Stream && !r.More:
		s.respond(c, m, nil, mqtt.Properties{User: []mqtt.UserProperty{{Key: "end", Value: "true"}}})
	default:
		s.respond(c, m, r.Payload, mqtt.Properties{ContentType: r.ContentType})
	}
}

func (s *session) respond(c *actors.Context, m command, payload []byte, p mqtt.Properties) {
	if err := s.server.Respond(m.client, m.reply, payload, p); err != nil {
		c.Log().Debug("answer not sent", "client", m.client.ID, "err", err)
	}
}

func failure(code, text string) []byte {
	p, _ := json.Marshal(struct { // two strings always marshal
		Code    string `json:"code"`
		Message string `json:"message"`
	}{code, text})
	return p
}

func errorProperties(code string) mqtt.Properties {
	return mqtt.Properties{ContentType: jsonType, User: []mqtt.UserProperty{{Key: "error", Value: code}}}
}
