// Package mqttsend sends batches of records to an MQTT broker. A record counts as delivered when
// the broker, or an application behind it, has acknowledged it. It provides an uplink.Sender.
package mqttsend

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"gatewayd/protocols/compress"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
	"gatewayd/protocols/uplink"
)

// Config says where and in what form to send. Topics contain no placeholders.
type Config struct {
	Client   mqttclient.Config // without subscriptions, will and callbacks
	Form     shape.Form
	Who      shape.Origin
	QoS      byte
	Retain   bool
	Compress string // "", "gzip" or "zstd"

	// Topic on which an application acknowledges; empty: the broker's acknowledgement counts.
	Ack      string
	Presence string // topic of "online" and "offline"; empty: none
	Commands string // topic prefix of commands; empty: no commands
	Answers  string // topic prefix of their answers
}

// Check reports whether the config can work, without contacting a broker.
func (cfg Config) Check() error {
	m, err := cfg.Form.New(cfg.Who)
	if err != nil {
		return err
	}
	if cfg.Form.Topic == "" {
		return errors.New("topic is missing")
	}
	if cfg.Ack != "" && !m.SaysBatch() {
		return errors.New("ack-topic: the shape must contain ${batch}, so that the cloud can name the batch that it acknowledges")
	}
	return nil
}

// Dial implements uplink.Dial.
func (cfg Config) Dial(ctx context.Context, hear uplink.Callbacks) (uplink.Sender, error) {
	maker, err := cfg.Form.New(cfg.Who)
	if err != nil {
		return nil, err
	}
	var nonce [6]byte
	_, _ = rand.Read(nonce[:]) // never fails
	s := &sender{cfg: cfg, maker: maker, nonce: hex.EncodeToString(nonce[:]), acks: map[string]chan struct{}{}}
	c := cfg.Client
	c.Dialer, c.OnLost = s.meter.DialContext, hear.Lost
	if cfg.Presence != "" {
		c.Will = &mqttclient.Message{Topic: cfg.Presence, Payload: []byte("offline"), QoS: 1, Retain: true}
	}
	if cfg.Ack != "" {
		c.Subscriptions = append(c.Subscriptions, mqttclient.Subscription{Filter: cfg.Ack, QoS: 1, OnMessage: s.acknowledged})
	}
	if cfg.Commands != "" {
		c.Subscriptions = append(c.Subscriptions, mqttclient.Subscription{Filter: cfg.Commands + "/#", QoS: 1, OnMessage: func(m mqttclient.Message) { s.command(m, hear) }})
	}
	k, err := mqttclient.Dial(ctx, c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.client = k
	s.mu.Unlock()
	if cfg.Presence != "" {
		if err := k.Publish(ctx, mqttclient.Message{Topic: cfg.Presence, Payload: []byte("online"), QoS: 1, Retain: true}); err != nil {
			_ = k.Close()
			return nil, fmt.Errorf("broker %s: %s: %w", c.URL, cfg.Presence, err)
		}
	}
	return s, nil
}

type sender struct {
	cfg   Config
	maker *shape.Maker
	meter uplink.Meter
	nonce string
	count uint64

	mu     sync.Mutex
	client *mqttclient.Client
	acks   map[string]chan struct{} // by message id
}

// Traffic implements uplink.Metered.
func (s *sender) Traffic() (sent, received uint64) { return s.meter.Traffic() }

// Close implements uplink.Sender.
func (s *sender) Close() error {
	if s.cfg.Presence != "" { // a regular DISCONNECT does not publish the will
		_ = s.client.Post(mqttclient.Message{Topic: s.cfg.Presence, Payload: []byte("offline"), Retain: true}, nil)
	}
	return s.client.Close()
}

// under is a message under way.
type under struct {
	shape.Message
	done <-chan error
	ack  chan struct{} // closed when the application has acknowledged it; nil: only the broker does
}

// Send implements uplink.Sender.
func (s *sender) Send(ctx context.Context, batch []record.Record) error {
	s.count++
	messages := s.maker.Make(s.nonce+"-"+strconv.FormatUint(s.count, 36), batch)
	all := make([]under, 0, len(messages))
	var failed, stopped error
	for _, m := range messages {
		var u under
		if u, stopped = s.start(ctx, m); stopped != nil {
			u.done = nil
		}
		if all = append(all, u); stopped != nil {
			break
		}
	}
	taken := make([]bool, len(batch))
	for _, u := range all {
		err := stopped
		if u.done != nil {
			err = s.wait(ctx, u)
		}
		s.forget(u.ID)
		if err != nil {
			failed = worse(failed, verdict(u.Message, err))
			continue
		}
		for _, i := range u.Records {
			taken[i] = true
		}
	}
	return outcome(failed, taken)
}

func (s *sender) start(ctx context.Context, m shape.Message) (u under, err error) {
	u.Message = m
	payload, typ := m.Payload, s.maker.ContentType
	if m.Retain {
		typ = "application/json"
	} else {
		if payload, err = compress.Bytes(s.cfg.Compress, payload); err != nil {
			return u, err
		}
		if s.cfg.Compress != "" {
			typ += "+" + s.cfg.Compress
		}
		if s.cfg.Ack != "" {
			u.ack = make(chan struct{})
			s.mu.Lock()
			s.acks[m.ID] = u.ack
			s.mu.Unlock()
		}
	}
	u.done, err = s.client.Start(ctx, mqttclient.Message{
		Topic: m.Topic, Payload: payload, QoS: s.cfg.QoS, Retain: m.Retain || s.cfg.Retain, ContentType: typ,
	})
	return u, err
}

func (s *sender) wait(ctx context.Context, u under) error {
	select {
	case err := <-u.done:
		if err != nil || u.ack == nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-u.ack:
		return nil
	case <-s.client.Done():
		return mqttclient.ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *sender) forget(id string) {
	s.mu.Lock()
	delete(s.acks, id)
	s.mu.Unlock()
}

// acknowledged handles the acknowledgement of an application: {"ack": "id"}.
func (s *sender) acknowledged(m mqttclient.Message) {
	var said struct {
		Ack string `json:"ack"`
	}
	if json.Unmarshal(m.Payload, &said) != nil || said.Ack == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ack := s.acks[said.Ack]; ack != nil {
		close(ack)
		delete(s.acks, said.Ack)
	}
}

// verdict returns a RejectedError if the message will never be accepted as it is, and otherwise
// err.
func verdict(m shape.Message, err error) error {
	var refused *mqttclient.RefusedError
	never := errors.Is(err, mqttclient.ErrTooLarge)
	if errors.As(err, &refused) {
		switch refused.Code {
		case 0x83, 0x90, 0x95, 0x99: // implementation specific, topic name, packet too large, payload format
			never = true
		}
	}
	switch {
	case !never && errors.Is(err, mqttclient.ErrLost):
		return err // the record does not affect the topic
	case !never:
		return fmt.Errorf("topic %s: %w", m.Topic, err)
	case len(m.Records) == 1:
		return &uplink.RejectedError{Records: []uplink.Refusal{{Index: m.Records[0], Why: err.Error()}}}
	}
	return &uplink.RejectedError{Why: err.Error()}
}

// worse returns the more important of two errors: the end of a connection, then a rejection.
func worse(a, b error) error {
	var first, second *uplink.RejectedError
	switch {
	case a == nil:
		return b
	case !errors.As(a, &first):
		return a
	case !errors.As(b, &second):
		return b
	case len(first.Records) == 0 || len(second.Records) == 0:
		return &uplink.RejectedError{Why: first.Error()}
	}
	first.Records = append(first.Records, second.Records...)
	return first
}

// outcome returns the error for a batch of which some records were accepted.
func outcome(err error, taken []bool) error {
	if err == nil {
		return nil
	}
	var rejected *uplink.RejectedError
	if errors.As(err, &rejected) {
		rejected.Taken = true
		for i, ok := range taken {
			named := false
			for _, r := range rejected.Records {
				named = named || r.Index == i
			}
			rejected.Taken = rejected.Taken && (ok || named)
		}
		return rejected
	}
	n := 0
	for n < len(taken) && taken[n] {
		n++
	}
	if n > 0 {
		return &uplink.PartialError{Taken: n, Err: err}
	}
	return err
}

// command handles a command from the broker: its topic ends in <actor>/<Method>.
func (s *sender) command(m mqttclient.Message, hear uplink.Callbacks) {
	rest, ok := strings.CutPrefix(m.Topic, s.cfg.Commands+"/")
	at := strings.LastIndexByte(rest, '/')
	if !ok || at <= 0 {
		return
	}
	cmd := uplink.Command{Actor: rest[:at], Method: rest[at+1:], ContentType: m.ContentType, Payload: m.Payload}
	to := mqttclient.Message{Topic: m.ResponseTopic, CorrelationData: m.CorrelationData, QoS: 1, ContentType: "application/json"}
	if to.Topic == "" && s.cfg.Answers != "" {
		to.Topic = s.cfg.Answers + "/" + rest
	}
	if to.Topic != "" {
		cmd.Answer = func(payload []byte, err error) {
			to.Payload = answer(payload, err)
			s.mu.Lock()
			k := s.client
			s.mu.Unlock()
			if k != nil {
				_ = k.Post(to, nil) // if it fails, the caller notices that there is no answer
			}
		}
	}
	hear.Command(cmd)
}

// answer returns {"result": …} or {"error": "…"}.
func answer(payload []byte, err error) []byte {
	var m struct {
		Result json.RawMessage `json:"result,omitempty"`
		Error  string          `json:"error,omitempty"`
	}
	switch {
	case err != nil:
		m.Error = err.Error()
	case json.Valid(payload):
		m.Result = payload
	default:
		m.Result = json.RawMessage(`{}`)
	}
	b, _ := json.Marshal(m) // both are JSON
	return b
}
