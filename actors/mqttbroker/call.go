package mqttbroker

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	"gatewayd/protocols/mqtt"
)

const (
	maxCalls       = 1024 // open at once
	maxClientCalls = 64   // open at once per client
	// Of a call with one answer; also how long a stream waits for its client to read.
	maxCallTime   = 5 * time.Minute
	jsonType      = "application/json"
	protobufType  = "application/protobuf"
	traceProperty = "traceparent" // W3C Trace Context
)

// command is a call published by a client.
type command struct {
	client mqtt.ClientInfo
	reply  mqtt.Publish // the PUBLISH, with the response topic if that is not the default
	topic  string       // cmd/<path>/<Method>
	trace  string       // traceparent of the answers; empty: none
}

// parse splits a PUBLISH on cmd/ into its parts. A client of MQTT 3.1.1, which has no correlation
// data, may append a token of its own to the topic: a call on cmd/<path>/<Method>/<token> is
// answered on reply/<client id>/<token>.
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
	if client.Version == 5 { // so that a user can name the call when asking for support
		w := m.caller()
		if w.Trace == "" {
			w.Trace = actors.NewTrace()
		}
		m.trace = w.Traceparent()
	}
	return m
}

// method returns cmd/<path>/<Method> without the token that may follow.
func method(topic string) string {
	rest, token := cut(topic)
	if path, name := cut(rest); strings.Contains(path, "/") && token != "" && name != "" && name[0] >= 'A' && name[0] <= 'Z' {
		topic = rest
	}
	topic, _ = typed(topic)
	return topic
}

// typed splits off the suffix .pb or .json, by which a client of MQTT 3.1.1 says how its payload
// and the answer are encoded: cmd/<path>/<Method>.pb or .json.
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

// timeout returns how long the call may take: the message expiry, if there is one.
func (m command) timeout(usual time.Duration) time.Duration {
	if m.reply.Expiry > 0 {
		return min(m.reply.Expiry, maxCallTime)
	}
	return usual
}

// lasting returns how long a stream may last.
func (m command) lasting() time.Duration {
	if m.reply.Expiry > 0 {
		return m.reply.Expiry
	}
	return actors.Forever
}

// caller returns the identity of the client, as far as the broker knows it.
func (m command) caller() actors.Caller {
	w := actors.Caller{Identity: "mqtt/" + m.client.ID}
	if id := m.client.Identity; id != nil {
		w.Proof = id
		if id.Name != access.Anonymous {
			w.Identity = "user/" + id.Name
		}
	}
	if m.trace != "" {
		w.Trace, w.Span = actors.ParseParent(m.trace)
		return w
	}
	for _, u := range m.reply.User {
		if strings.EqualFold(u.Key, traceProperty) {
			w.Trace, w.Span = actors.ParseParent(u.Value)
		}
	}
	return w
}

// stream is a call with several answers. The session makes it.
type stream struct {
	command
	call *mqtt.Call
	over context.Context // ends when the client gives up the call
}

// call makes a call for a client, in the client's goroutine. A call with one answer goes from here
// to the actor and back to the client directly. A call with several answers goes through the
// session, which can wait.
func (h *shared) call(gate actors.Gate, at *clientSession, m command) error {
	if h.gate.Guarded() && h.gate.Out(m.client.Identity) {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	streams := gate.Streams(m.topic)
	if !streams {
		ctx, cancel = context.WithTimeout(context.Background(), m.timeout(h.cfg.CallTimeout.AsDuration()))
	}
	u := &mqtt.Call{Client: m.client, To: m.reply, Cancel: cancel, Lasts: streams}
	if err := h.begin(at.calls, u); err != nil {
		cancel()
		h.fail(m, actors.Errorf(actors.ResourceExhausted, "%s", err))
		return nil
	}
	if streams {
		err := at.session.Post(&stream{m, u, ctx})
		if err != nil {
			h.end(at.calls, u)
		}
		return err
	}
	gate.Begin(ctx, m.caller(), m.topic, m.reply.ContentType, m.reply.Payload, func(r actors.Called) {
		if h.end(at.calls, u) {
			h.answer(m, r)
		}
	})
	return nil
}

// begin registers a call, or returns an error if too many are open.
func (h *shared) begin(calls *mqtt.Calls, u *mqtt.Call) error {
	if !calls.Add(u, maxClientCalls) {
		return fmt.Errorf("this client has too many open calls: %d", maxClientCalls)
	}
	if !h.slots.Take(maxCalls) {
		calls.Remove(u)
		return fmt.Errorf("too many open calls: %d", maxCalls)
	}
	return nil
}

// end unregisters a call. It returns false if the call has ended before.
func (h *shared) end(calls *mqtt.Calls, u *mqtt.Call) bool {
	u.Cancel()
	if !calls.Remove(u) {
		return false
	}
	h.slots.Give()
	return true
}

// stream makes a call with several answers, until the client gives it up or disconnects. Each
// answer waits until the client has room for it.
func (s *session) stream(c *actors.Context, m *stream) {
	gate, long := c.Gate(), m.lasting()
	c.Do(long+time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, long)
		defer cancel()
		defer context.AfterFunc(m.over, cancel)()
		err := gate.Call(ctx, m.caller(), m.topic, "", m.reply.ContentType, m.reply.Payload, func(r actors.Called) error {
			waits, cancel := context.WithTimeout(ctx, maxCallTime)
			defer cancel()
			if err := s.server.AwaitRoom(waits, m.client, len(r.Payload)); err != nil {
				return err
			}
			s.answer(m.command, r)
			return nil
		})
		return &streamed{m, err}, nil
	})
}

// streamed is the end of a stream.
type streamed struct {
	of  *stream
	err error
}

// over sends the end of a stream to the client.
func (s *session) over(m *streamed) {
	if s.end(s.calls, m.of.call) {
		s.answer(m.of.command, actors.Called{Err: m.err, Stream: true})
	}
}

// answer sends the outcome of a call to the client. A stream ends with an empty message.
func (h *shared) answer(m command, r actors.Called) {
	switch {
	case r.Err != nil:
		h.fail(m, r.Err)
	case r.Stream && !r.More:
		_ = h.respond(m, nil, mqtt.Properties{User: []mqtt.UserProperty{{Key: "end", Value: "true"}}})
	default:
		if err := h.respond(m, r.Payload, mqtt.Properties{ContentType: r.ContentType}); err != nil {
			h.fail(m, actors.Errorf(actors.ResourceExhausted, "the answer cannot be sent: %s", err))
		}
	}
}

func (h *shared) fail(m command, err error) {
	code, _ := actors.Explain(err)
	_ = h.respond(m, actors.Failure(err), mqtt.Properties{ContentType: jsonType, User: []mqtt.UserProperty{{Key: "error", Value: code}}})
}

// respond publishes an answer. It fails if the answer is too large or the client is gone.
func (h *shared) respond(m command, payload []byte, p mqtt.Properties) error {
	if m.trace != "" {
		p.User = append(p.User, mqtt.UserProperty{Key: traceProperty, Value: m.trace})
	}
	return h.server.Respond(m.client, m.reply, payload, p)
}
