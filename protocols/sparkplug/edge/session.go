package edge

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/uplink"
)

// A session is one connection of an Edge.
type session struct {
	e    *Edge
	k    *mqttclient.Client
	hear uplink.Callbacks

	ring  chan struct{} // there is something in inbox, or the node is due earlier
	turn  chan struct{} // held by the batch that is being published
	over  chan struct{} // closed at the end
	ready chan struct{} // closed at the births
	once  sync.Once     // for ready
	news  chan struct{} // closed when the node has made a decision; guarded by the lock of the Edge
	gone  chan struct{} // closed when run has ended

	mu      sync.Mutex
	inbox   []func(now time.Time) sparkplug.Actions // events to be passed to the node
	writes  int                                     // under way
	err     error
	closing bool // by Close
	quiet   sync.WaitGroup
}

const (
	maxInbox  = 1000
	maxWrites = 16
	deathTime = time.Second
	window    = 8
)

// post handles a message of a host. Excess commands are dropped; the state of the primary host
// never is.
func (s *session) post(m mqttclient.Message) {
	if m.Topic == sparkplug.StateTopic(s.e.cfg.Node.Host) {
		s.enter(func(now time.Time) sparkplug.Actions { return s.e.node.Host(m.Topic, m.Payload, now) }, true)
		return
	}
	s.enter(func(now time.Time) sparkplug.Actions { return s.e.node.Command(m.Topic, m.Payload, now) }, false)
}

func (s *session) enter(f func(time.Time) sparkplug.Actions, always bool) {
	s.mu.Lock()
	if always || len(s.inbox) < maxInbox {
		s.inbox = append(s.inbox, f)
	}
	s.mu.Unlock()
	s.wake()
}

func (s *session) wake() {
	select {
	case s.ring <- struct{}{}:
	default:
	}
}

// run passes events and the time to the node.
func (s *session) run() {
	defer close(s.gone)
	defer func() {
		if p := recover(); p != nil {
			s.end(fmt.Errorf("panic: %v\n%s", p, debug.Stack()), true)
		}
	}()
	s.step(s.e.node.Connected)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		s.mu.Lock()
		inbox := s.inbox
		s.inbox = nil
		s.mu.Unlock()
		for _, f := range inbox {
			s.step(f)
		}
		s.e.mu.Lock()
		due := s.e.node.Due()
		s.e.mu.Unlock()
		wait := sparkplug.Patience * 3600
		if !due.IsZero() {
			wait = min(max(due.Sub(s.e.cfg.Now()), 0), sparkplug.Patience)
		}
		timer.Reset(wait)
		select {
		case <-s.ring:
		case <-timer.C:
			s.step(s.e.node.Wake)
		case <-s.over:
			return
		}
	}
}

// step makes the node decide and carries out the decision.
func (s *session) step(decide func(now time.Time) sparkplug.Actions) {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.ended() {
		return
	}
	s.do(decide(s.e.cfg.Now()))
}

// do carries out a decision. The lock of the Edge is held.
func (s *session) do(d sparkplug.Actions) {
	for _, n := range d.Notes {
		s.e.cfg.Note(n)
	}
	for _, m := range d.Send {
		if err := s.publish(m); err != nil {
			s.end(err, true)
			return
		}
	}
	if d.Leave != "" {
		s.end(errors.New(d.Leave), true)
		_ = s.k.Close()
		return
	}
	for _, w := range d.Writes {
		s.write(w)
	}
	if s.e.node.Born() {
		s.once.Do(func() { close(s.ready) })
	}
	close(s.news)
	s.news = make(chan struct{})
	s.wake()
}

// publish publishes m after everything before it. For a death it waits for the acknowledgement,
// because the DISCONNECT follows.
func (s *session) publish(m sparkplug.Message) error {
	out := mqttclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS}
	if m.QoS == 0 {
		// The client closes a connection that accepts nothing.
		return s.k.Publish(context.Background(), out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deathTime)
	defer cancel()
	return s.k.Publish(ctx, out)
}

// Send implements uplink.Sender.
func (s *session) Send(ctx context.Context, batch []record.Record) error {
	err := s.send(ctx, batch)
	if err != nil {
		s.e.mu.Lock()
		s.e.node.Forget(batch)
		s.e.mu.Unlock()
	}
	return err
}

func (s *session) send(ctx context.Context, batch []record.Record) error {
	if err := s.say(ctx, batch); err != nil {
		return err
	}
	if err := s.k.Ping(ctx); err != nil {
		return err
	}
	if s.e.cfg.Settle > 0 && s.e.cfg.Node.Host != "" {
		t := time.NewTimer(s.e.cfg.Settle)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.e.mu.Lock() // an offline state that arrived before the ping response has been handled
	defer s.e.mu.Unlock()
	return s.why()
}

// say publishes a batch as soon as data may be sent, after the batches of earlier calls of Send.
func (s *session) say(ctx context.Context, batch []record.Record) error {
	select {
	case s.turn <- struct{}{}:
	case <-s.over:
		return s.why()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	for {
		s.e.mu.Lock()
		if s.ended() {
			s.e.mu.Unlock()
			return s.why()
		}
		news := s.news
		d, err := s.e.node.Records(batch, s.e.cfg.Now())
		if err == nil {
			s.do(d)
		}
		s.e.mu.Unlock()
		if err == nil {
			return s.why()
		}
		select { // births are due within a second
		case <-news:
		case <-s.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Window implements uplink.Windowed: several batches may await their acknowledgement.
func (s *session) Window() int { return window }

// Traffic implements uplink.Metered.
func (s *session) Traffic() (sent, received uint64) { return s.k.Traffic() }

// Close publishes the node's death and closes the connection.
func (s *session) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.e.mu.Lock()
	if !s.ended() {
		for _, m := range s.e.node.Leave(s.e.cfg.Now()) {
			if s.publish(m) != nil {
				break
			}
		}
	}
	s.e.mu.Unlock()
	s.end(mqttclient.ErrLost, false)
	err := s.k.Close()
	s.quiet.Wait()
	<-s.gone
	return err
}

// end ends the session, once. The node is told when the lock of the Edge is free, or by the next
// Connect.
func (s *session) end(err error, tell bool) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	tell = tell && !s.closing && s.hear.Lost != nil
	if tell {
		s.quiet.Add(1)
	}
	s.mu.Unlock()
	close(s.over)
	if tell {
		s.hear.Lost(err)
		s.quiet.Done()
	}
}

func (s *session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// why returns what ended the session; nil if nothing has.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
