package munic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

// Config says where the platform's broker is, how to identify to it, and what the platform may ask
// for.
type Config struct {
	Broker   mqttclient.Config
	Form     Form
	Platform bool              // an event counts when the platform has acknowledged it, not when the broker has
	Channels map[string]string // "<actor>/<Method>" by channel
}

// Session is the state that an uplink keeps across its connections, of which there is one at a
// time.
type Session struct {
	cfg Config

	mu     sync.Mutex
	before bool              // there was an earlier connection
	last   uint64            // the last id assigned
	seen   map[string][]byte // answers to messages by message id; nil: under way
	order  []string
	sender *sender // of the present connection
}

// maxSeen is the number of messages remembered.
const maxSeen = 256

// NewSession returns a Session without history.
func NewSession(cfg Config) *Session { return &Session{cfg: cfg, seen: map[string][]byte{}} }

// topic returns a topic of the asset.
func (s *Session) topic(leaf string) string {
	return "munic/" + s.cfg.Form.Account + "/" + s.cfg.Form.Asset + "/" + leaf
}

// id returns a new id, greater than all before.
func (s *Session) id(now time.Time) identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, uint64(max(now.UnixMilli()-begin, 0))<<22|rand.Uint64N(1<<22))
	return identify(s.last)
}

func (s *Session) presence(now time.Time, kind, reason string) []byte {
	// Cannot fail.
	b, _ := json.Marshal([]event{s.cfg.Form.event("presence", presence{s.id(now), s.cfg.Form.Asset, seconds(now), kind, reason})})
	return b
}

// sender is one connection.
type sender struct {
	s          *Session
	hear       uplink.Callbacks
	client     *mqttclient.Client
	connection string

	mu      sync.Mutex
	waiting map[string]chan settled // by id
	done    chan struct{}
	once    sync.Once
}

// Dial connects to the broker and publishes the presence of the asset. See uplink.Dial.
func (s *Session) Dial(ctx context.Context, hear uplink.Callbacks) (uplink.Sender, error) {
	now := time.Now()
	x := &sender{s: s, hear: hear, connection: s.id(now).Text, waiting: map[string]chan settled{}, done: make(chan struct{})}
	cfg := s.cfg.Broker
	cfg.Will = &mqttclient.Message{Topic: s.topic("presence"), Payload: s.presence(now, "disconnect", "network_activity_timeout"), QoS: 1, Retain: true}
	cfg.Subscriptions = []mqttclient.Subscription{{Filter: s.topic("message/down"), QoS: 1, OnMessage: x.down}}
	if s.cfg.Platform {
		cfg.Subscriptions = append(cfg.Subscriptions, mqttclient.Subscription{Filter: s.topic("ack"), QoS: 1, OnMessage: x.acked})
	}
	cfg.OnLost = func(err error) {
		x.end()
		if hear.Lost != nil {
			hear.Lost(err)
		}
	}
	var err error
	if x.client, err = mqttclient.Dial(ctx, cfg); err != nil {
		return nil, err
	}
	s.mu.Lock()
	kind := "connect"
	if s.before {
		kind = "reconnect"
	}
	s.before, s.sender = true, x
	s.mu.Unlock()
	if err := x.client.Publish(ctx, mqttclient.Message{Topic: s.topic("presence"), Payload: s.presence(now, kind, ""), QoS: 1, Retain: true}); err != nil {
		_ = x.Close()
		return nil, fmt.Errorf("presence: %w", err)
	}
	return x, nil
}

func (x *sender) end() { x.once.Do(func() { close(x.done) }) }

// parting is how long publishing the disconnect may take.
const parting = time.Second

// Close implements uplink.Sender.
func (x *sender) Close() error {
	x.s.mu.Lock()
	if x.s.sender == x {
		x.s.sender = nil
	}
	x.s.mu.Unlock()
	if x.client.Open() {
		ctx, cancel := context.WithTimeout(context.Background(), parting)
		_ = x.client.Publish(ctx, mqttclient.Message{Topic: x.s.topic("presence"), Payload: x.s.presence(time.Now(), "disconnect", "closed"), QoS: 1, Retain: true})
		cancel()
	}
	x.end()
	return x.client.Close()
}

// Traffic implements uplink.Metered.
func (x *sender) Traffic() (sent, received uint64) { return x.client.Traffic() }

// maxOfMessage is the number of records per message.
const maxOfMessage = 100

// Send implements uplink.Sender.
func (x *sender) Send(ctx context.Context, batch []record.Record) error {
	all := &uplink.RejectedError{Taken: true}
	from := 0
	for _, run := range runs(batch) {
		for some := range slices.Chunk(run, maxOfMessage) {
			refused, err := x.publish(ctx, some)
			if err != nil {
				return err
			}
			for _, r := range refused {
				r.Index += from
				all.Records = append(all.Records, r)
			}
			from += len(some)
		}
	}
	if len(all.Records) == 0 {
		return nil
	}
	return all
}

// runs splits a batch wherever the kind of event, and with it the topic, changes.
func runs(batch []record.Record) (all [][]record.Record) {
	for from, i := 0, 1; i <= len(batch); i++ {
		if i == len(batch) || batch[i].Absent != batch[from].Absent {
			all = append(all, batch[from:i])
			from = i
		}
	}
	return all
}

// publish sends records of one kind and waits until they are acknowledged.
func (x *sender) publish(ctx context.Context, run []record.Record) ([]uplink.Refusal, error) {
	payload, ids, err := x.s.cfg.Form.events(run, x.connection)
	if err != nil {
		return nil, err
	}
	leaf := "track"
	switch {
	case x.s.cfg.Form.Collection != "":
		leaf = "collection"
	case run[0].Absent:
		leaf = "poke"
	}
	replies, forget := x.expect(ids)
	defer forget()
	if err := x.client.Publish(ctx, mqttclient.Message{Topic: x.s.topic(leaf), Payload: payload, QoS: 1}); err != nil {
		return nil, err
	}
	var refused []uplink.Refusal
	for left := x.distinct(ids); left > 0; left-- {
		select {
		case a := <-replies:
			if a.Status == "ok" {
				continue
			}
			for i, id := range ids {
				if id == a.ID {
					refused = append(refused, uplink.Refusal{Index: i, Why: "the platform reports: " + a.Reason})
				}
			}
		case <-x.done:
			return nil, errors.New("the connection ended before the platform acknowledged")
		case <-ctx.Done():
			return nil, fmt.Errorf("no acknowledgement of the platform: %w", ctx.Err())
		}
	}
	slices.SortFunc(refused, func(a, b uplink.Refusal) int { return a.Index - b.Index })
	return refused, nil
}

// distinct returns how many acknowledgements to wait for.
func (x *sender) distinct(ids []string) int {
	if !x.s.cfg.Platform {
		return 0
	}
	return len(slices.Compact(slices.Sorted(slices.Values(ids))))
}

// expect registers the ids whose acknowledgements are awaited, until forget is called.
func (x *sender) expect(ids []string) (replies chan settled, forget func()) {
	replies = make(chan settled, len(ids))
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range ids {
		x.waiting[id] = replies
	}
	return replies, func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, id := range ids {
			delete(x.waiting, id)
		}
	}
}

func (x *sender) acked(m mqttclient.Message) {
	for _, a := range acks(m.Payload) {
		x.mu.Lock()
		replies := x.waiting[a.ID]
		delete(x.waiting, a.ID)
		x.mu.Unlock()
		if replies != nil && (a.Status == "ok" || a.Status == "error") {
			replies <- a
		}
	}
}

// down handles messages for the asset. Invalid ones are ignored.
func (x *sender) down(m mqttclient.Message) {
	all, err := downs(m.Payload)
	if err != nil {
		return
	}
	for _, d := range all {
		x.s.mu.Lock()
		answer, known := x.s.seen[d.id()]
		if !known {
			x.s.remember(d.id())
		}
		x.s.mu.Unlock()
		switch {
		case answer != nil:
			x.s.tell(d.id())
		case !known:
			x.open(d)
		}
	}
}

// open carries out the command in a message.
func (x *sender) open(d down) {
	call, mapped := x.s.cfg.Channels[d.Channel]
	at := strings.LastIndexByte(call, '/')
	payload, err := base64.StdEncoding.DecodeString(d.Base64)
	switch {
	case err != nil:
		x.s.settle(d, nil, errors.New("b64_payload is not base64"))
	case !mapped || at <= 0:
		x.s.settle(d, nil, fmt.Errorf("no actor uses channel %q", d.Channel))
	case x.hear.Command == nil:
		x.s.settle(d, nil, errors.New("this gateway takes no commands"))
	default:
		x.hear.Command(uplink.Command{Actor: call[:at], Method: call[at+1:], Payload: payload, Answer: func(answer []byte, err error) { x.s.settle(d, answer, err) }})
	}
}

// remember notes that a message is under way; the lock is held.
func (s *Session) remember(id string) {
	s.seen[id] = nil
	s.order = append(s.order, id)
	for i := 0; len(s.order) > maxSeen && i < len(s.order); {
		if s.seen[s.order[i]] == nil {
			i++ // messages under way are not forgotten
			continue
		}
		delete(s.seen, s.order[i])
		s.order = slices.Delete(s.order, i, i+1)
	}
}

// settle answers a message, now and whenever it is repeated.
func (s *Session) settle(d down, answer []byte, err error) {
	now := time.Now()
	m := message{
		identity: s.id(now), Parent: d.id(), Thread: d.Thread, Asset: s.cfg.Form.Asset, Sender: s.cfg.Form.Asset, Recipient: "@@server@@", Type: "ack",
		Channel: d.Channel, Recorded: seconds(now), Base64: base64.StdEncoding.EncodeToString(answer),
	}
	if err != nil {
		m.Type, m.Base64 = "error", base64.StdEncoding.EncodeToString([]byte(err.Error()))
	}
	b, _ := json.Marshal([]event{s.cfg.Form.event("message", m)}) // texts only: cannot fail
	s.mu.Lock()
	if had, known := s.seen[d.id()]; known && had == nil {
		s.seen[d.id()] = b
	}
	s.mu.Unlock()
	s.tell(d.id())
}

// tell publishes the answer to a message over the present connection. Without one, the platform
// will ask again.
func (s *Session) tell(id string) {
	s.mu.Lock()
	x, answer := s.sender, s.seen[id]
	s.mu.Unlock()
	if x != nil && answer != nil {
		_ = x.client.Post(mqttclient.Message{Topic: s.topic("message"), Payload: answer, QoS: 1}, nil)
	}
}
