// Package edge carries out what an edge node of Sparkplug B decides: it connects, publishes, and hands on what hosts want. It is a sender
// of records in the sense of package uplink.
//
// Data travels at QoS 0, as the specification wants it, and nobody acknowledges it. A batch counts as acknowledged when the server has
// answered a ping that was sent behind it, for it takes what comes in order, and with a primary host when that was not said to be
// offline for so long as Config.Settle after. All else is sent again, as historical values, in the next session.
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

// Config says how a node reaches its servers.
type Config struct {
	Node    sparkplug.Config    // Servers is len(Servers)
	Servers []mqttclient.Config // where, and who we are there; will and subscriptions are the node's
	Targets []Target            // what the commands of Node do, in the same order
	Settle  time.Duration       // how long the primary host must stay online for what was sent before to be acknowledged

	// Save stores bdSeq before it is used, so that New can be given it after a restart. nil: nobody does.
	Save func(ctx context.Context, bdSeq int) error
	Note func(text string) // what came and was not followed; nil: nobody wants to know
	Now  func() time.Time  // nil: time.Now
}

// An Edge is a node with all that it remembers from one connection to the next.
type Edge struct {
	cfg Config

	mu   sync.Mutex // one thing happens after the other, and is said in that order
	node *sparkplug.Node
}

// New is a node whose last CONNECT had bdSeq; -1: it never made one.
func New(cfg Config, bdSeq int) (*Edge, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("a server is needed")
	}
	if err := CheckTargets(cfg.Node.Commands, cfg.Targets); err != nil {
		return nil, err
	}
	cfg.Node.Servers = len(cfg.Servers)
	node, err := sparkplug.New(cfg.Node, bdSeq)
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

// hostTime is how long a node waits for its primary host at one of several servers.
const hostTime = 10 * time.Second

// Dial connects to the server whose turn it is, and returns when the births are said. It is an uplink.Dial; only one connection may stand
// at a time.
func (e *Edge) Dial(ctx context.Context, hear uplink.Hear) (uplink.Sender, error) {
	e.mu.Lock()
	will, bdSeq := e.node.Connect(e.cfg.Now())
	server := e.cfg.Servers[e.node.Server()]
	subscriptions := e.node.Subscriptions()
	e.mu.Unlock()
	if e.cfg.Save != nil {
		if err := e.cfg.Save(ctx, bdSeq); err != nil {
			return nil, fmt.Errorf("store bdSeq: %w", err)
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
	k, err := mqttclient.Dial(ctx, server)
	if err != nil {
		var unreached *mqttclient.Unreached
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

// wait waits for the births.
func (s *session) wait(ctx context.Context) error {
	several := len(s.e.cfg.Servers) > 1
	if several {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, hostTime)
		defer cancel()
	}
	select {
	case <-s.ready:
		return nil
	case <-s.over:
		return s.why()
	case <-ctx.Done():
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
