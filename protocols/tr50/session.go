package tr50

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/uplink"
)

// Config says where the server is, how to identify to it, and what it may ask for.
type Config struct {
	// Broker has the URL, the application id as client id, the thing key as user name, and the
	// application token as password.
	Broker mqttclient.Config
	Form   Form
	// "<actor>/<Method>" by method of the mailbox; other methods must have that form themselves.
	Methods map[string]string
	Every   time.Duration // how often to check the mailbox without notification
}

// Session is the state that an uplink keeps across its connections, of which there is one at a
// time.
type Session struct {
	cfg Config

	mu sync.Mutex
	// Last topic suffix used; none is used twice, so that a late reply is not mistaken for another
	// one.
	last   uint64
	seen   map[string]*outcome // outcomes by message id: a message comes again until it is acknowledged
	order  []string
	sender *sender // of the present connection
}

// outcome is the result of a method of the mailbox; while it runs the fields are zero.
type outcome struct {
	done   bool
	code   int
	why    string
	params json.RawMessage
}

// maxMail is the number of outcomes remembered.
const maxMail = 256

// NewSession returns a Session without history.
func NewSession(cfg Config) *Session {
	return &Session{cfg: cfg, last: rand.Uint64N(1 << 40), seen: map[string]*outcome{}}
}

// sender is one connection.
type sender struct {
	s      *Session
	hear   uplink.Callbacks
	client *mqttclient.Client
	proven bool // something was published successfully, so identity and permissions are right

	mu      sync.Mutex
	pending map[string]chan []byte
	post    chan struct{} // there may be mail; has capacity 1
	done    chan struct{}
	once    sync.Once
}

const notified = "notify/mailbox_activity"

// Dial connects to the server. See uplink.Dial.
func (s *Session) Dial(ctx context.Context, hear uplink.Callbacks) (uplink.Sender, error) {
	x := &sender{s: s, hear: hear, pending: map[string]chan []byte{}, post: make(chan struct{}, 1), done: make(chan struct{})}
	cfg := s.cfg.Broker
	cfg.Subscriptions = []mqttclient.Subscription{
		{Filter: "reply/#", QoS: 1, OnMessage: x.replied}, {Filter: notified, QoS: 1, OnMessage: func(mqttclient.Message) { x.look() }},
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
	s.sender = x
	s.mu.Unlock()
	x.look()
	go x.mailbox()
	return x, nil
}

func (x *sender) end() { x.once.Do(func() { close(x.done) }) }

// Close implements uplink.Sender.
func (x *sender) Close() error {
	x.s.mu.Lock()
	if x.s.sender == x {
		x.s.sender = nil
	}
	x.s.mu.Unlock()
	x.end()
	return x.client.Close()
}

// Traffic implements uplink.Metered.
func (x *sender) Traffic() (sent, received uint64) { return x.client.Traffic() }

// look triggers a check of the mailbox.
func (x *sender) look() {
	select {
	case x.post <- struct{}{}:
	default:
	}
}

func (x *sender) replied(m mqttclient.Message) {
	suffix := strings.TrimPrefix(m.Topic, "reply/")
	x.mu.Lock()
	waits := x.pending[suffix]
	delete(x.pending, suffix)
	x.mu.Unlock()
	if waits != nil {
		waits <- m.Payload
	}
}

// exchange publishes an envelope and waits for its replies.
func (x *sender) exchange(ctx context.Context, commands []command) ([]response, error) {
	payload, err := envelope(commands)
	if err != nil {
		return nil, err
	}
	x.s.mu.Lock()
	x.s.last++
	suffix := strconv.FormatUint(x.s.last, 36)
	x.s.mu.Unlock()
	reply := make(chan []byte, 1)
	x.mu.Lock()
	x.pending[suffix] = reply
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		delete(x.pending, suffix)
		x.mu.Unlock()
	}()
	if err := x.client.Publish(ctx, mqttclient.Message{Topic: "api/" + suffix, Payload: payload, QoS: 1}); err != nil {
		return nil, err
	}
	select {
	case b := <-reply:
		return responses(b, len(commands))
	case <-x.done:
		return nil, errors.New("the connection ended before the reply")
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, &uplink.DeadlineError{What: fmt.Sprintf("the broker accepted %s, but no TR50 server replies in time", commands[0].Command)}
		}
		return nil, fmt.Errorf("no reply to %s: %w", commands[0].Command, ctx.Err())
	}
}

// guard ends a connection whose goroutine panics.
func (x *sender) guard() {
	if p := recover(); p != nil {
		_ = x.Close()
		if x.hear.Lost != nil {
			x.hear.Lost(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}
}
