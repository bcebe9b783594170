// Package edge carries out the decisions of a Sparkplug B edge node: it connects, publishes, and
// passes on the requests of hosts. It provides an uplink.Sender.
//
// Data is published with QoS 0, as the specification requires, so it is not acknowledged. A batch
// counts as acknowledged when the server has answered a ping sent after it, because a server
// processes packets in order; and, with a primary host, if that was not reported offline for
// Config.Settle after that. Everything else is sent again as historical values in the next session.
package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/uplink"
)

// Config configures a node and its servers.
type Config struct {
	Node sparkplug.Config // its Servers is set to len(Servers)
	// The servers and how to identify to them; the node sets will and subscriptions.
	Servers []mqttclient.Config
	Targets []Target // what the commands of Node do, in the same order
	// How long the primary host must stay online for the data sent before to be acknowledged.
	Settle time.Duration

	// Load returns the value last stored by Save, or -1 if there is none; Save is called before a
	// bdSeq is used. nil: it is not stored.
	Load func(ctx context.Context) (bdSeq int, err error)
	Save func(ctx context.Context, bdSeq int) error
	Note func(text string) // called with messages that were ignored; may be nil
	Now  func() time.Time  // nil: time.Now
}

// An Edge is a node with everything that it remembers across connections.
type Edge struct {
	cfg Config

	loaded bool // by Dial

	mu   sync.Mutex // serialises decisions and the publishing of their messages
	node *sparkplug.Node
}

// New returns a node that has not connected yet.
func New(cfg Config) (*Edge, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("a server is needed")
	}
	if err := CheckTargets(cfg.Node.Commands, cfg.Targets); err != nil {
		return nil, err
	}
	cfg.Node.Servers = len(cfg.Servers)
	node, err := sparkplug.New(cfg.Node, -1)
	if err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Note == nil {
		cfg.Note = func(string) {}
	}
	return &Edge{cfg: cfg, node: node}, nil
}

const (
	// hostTime is how long a node waits for its primary host at one of several servers.
	hostTime = 10 * time.Second
	// tellTime is the interval of reports about what a node waits for.
	tellTime = 2 * time.Second
	// connectTime is the time limit for connecting to one server.
	connectTime = 30 * time.Second
)

// Dial connects to the next server, or else to one of the others, and returns when the births are
// published. It is an uplink.Dial; only one connection may exist at a time.
func (e *Edge) Dial(ctx context.Context, hear uplink.Callbacks) (uplink.Sender, error) {
	var errs []error
	for range e.cfg.Servers {
		s, err := e.dial(ctx, hear)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (e *Edge) dial(ctx context.Context, hear uplink.Callbacks) (*session, error) {
	if err := e.recall(ctx); err != nil {
		return nil, err
	}
	e.mu.Lock()
	will, bdSeq := e.node.Connect(e.cfg.Now())
	server := e.cfg.Servers[e.node.Server()]
	subscriptions := e.node.Subscriptions()
	e.mu.Unlock()
	if e.cfg.Save != nil {
		if err := e.cfg.Save(ctx, bdSeq); err != nil {
			// A gateway without a store still sends.
			e.cfg.Note(fmt.Sprintf("cannot store bdSeq: %v", err))
		}
	}
	s := &session{e: e, hear: hear, ring: make(chan struct{}, 1), turn: make(chan struct{}, 1), over: make(chan struct{}),
		ready: make(chan struct{}), news: make(chan struct{}), gone: make(chan struct{})}
	server.Version, server.Session, server.Will = 4, 0, &mqttclient.Message{Topic: will.Topic, Payload: will.Payload, QoS: will.QoS}
	server.OnLost = func(err error) { s.end(err, true) }
	server.Subscriptions = nil
	for _, topic := range subscriptions {
		state := topic == sparkplug.StateTopic(e.cfg.Node.Host)
		server.Subscriptions = append(server.Subscriptions, mqttclient.Subscription{Filter: topic, QoS: 1, Kept: state, OnMessage: s.post})
	}
	brief, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	k, err := mqttclient.Dial(brief, server)
	if err != nil {
		var unreached *mqttclient.DialError
		e.mu.Lock()
		defer e.mu.Unlock()
		if errors.As(err, &unreached) {
			e.node.Unsaid()
		}
		e.node.Lost()
		e.node.Walk()
		return nil, err
	}
	s.k = k
	go s.run()
	if err := s.wait(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// recall tells the node, once, the bdSeq of its last CONNECT before a restart. If that cannot be
// determined, the node starts as if there was none.
func (e *Edge) recall(ctx context.Context) error {
	if e.loaded || e.cfg.Load == nil {
		return nil
	}
	bdSeq, err := e.cfg.Load(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		e.cfg.Note(fmt.Sprintf("cannot read the stored bdSeq: %v", err))
	default:
		e.mu.Lock()
		e.node.Recall(bdSeq)
		e.mu.Unlock()
	}
	e.loaded = true
	return nil
}

// wait waits for the births.
func (s *session) wait(ctx context.Context) error {
	several := len(s.e.cfg.Servers) > 1
	if several {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hostTime)
		defer cancel()
	}
	tell := time.NewTicker(tellTime)
	defer tell.Stop()
	for going := true; going; {
		select {
		case <-s.ready:
			return nil
		case <-s.over:
			return s.why()
		case <-tell.C:
			s.e.mu.Lock()
			why := s.e.node.Waiting()
			s.e.mu.Unlock()
			if why != "" && s.hear.Waiting != nil {
				s.hear.Waiting(why)
			}
		case <-ctx.Done():
			going = false
		}
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	why := s.e.node.Waiting()
	if several {
		s.e.node.Walk()
	}
	if why == "" {
		return ctx.Err()
	}
	return errors.New(why)
}
