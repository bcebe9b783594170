package mqtt

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// ledger counts the bytes of unacknowledged messages per client id, and the topics that clients
// have retained.
type ledger struct {
	mu       sync.Mutex
	bytes    map[string]int
	retained map[string]struct{}
}

func newLedger() *ledger {
	return &ledger{bytes: make(map[string]int), retained: make(map[string]struct{})}
}

// queue adds n bytes unless that exceeds limit; a single message always fits.
func (l *ledger) queue(id string, n, limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if have := l.bytes[id]; have > 0 && have+n > limit {
		return false
	}
	l.bytes[id] += n
	return true
}

func (l *ledger) queued(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes[id]
}

// queues returns the client ids with queued messages.
func (l *ledger) queues() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.bytes))
}

func (l *ledger) settle(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes[id] -= n; l.bytes[id] <= 0 {
		delete(l.bytes, id)
	}
}

// set replaces the count by n bytes.
func (l *ledger) set(id string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes[id] = n; n <= 0 {
		delete(l.bytes, id)
	}
}

func (l *ledger) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.bytes, id)
}

// retain adds a retained message of a client, or removes it. It returns false if there are most
// already.
func (l *ledger) retain(topic string, keep bool, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !keep {
		delete(l.retained, topic)
		return true
	}
	if _, ok := l.retained[topic]; !ok && len(l.retained) >= most {
		return false
	}
	l.retained[topic] = struct{}{}
	return true
}

// keepRetained reports whether a client's retained message is stored; it is delivered in any case.
func (s *Server) keepRetained(pk *packets.Packet) bool {
	return pk.FixedHeader.Retain && s.sessions.retain(pk.TopicName, len(pk.Payload) > 0, s.cfg.MaxRetained)
}

// messageSize returns the size that a queued message counts for, in bytes.
func messageSize(pk *packets.Packet) int {
	p := &pk.Properties
	n := len(pk.Payload) + len(pk.TopicName) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData) + 32
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val) + 5
	}
	return n
}

// absent returns the stored sessions of absent clients, longest absent first.
func (s *Server) absent() []*mochi.Client {
	var out []*mochi.Client
	for _, cl := range s.broker.Clients.GetAll() {
		if !cl.Net.Inline && cl.Closed() {
			out = append(out, cl)
		}
	}
	slices.SortFunc(out, func(a, b *mochi.Client) int { return cmp.Compare(connOf(a).left.Load(), connOf(b).left.Load()) })
	return out
}

// trimSessions ends the longest absent sessions beyond the limit.
func (s *Server) trimSessions() {
	if s.closing.Load() {
		return
	}
	away := s.absent()
	for i := 0; i < len(away)-s.cfg.MaxSessions; i++ {
		s.discard(away[i])
	}
}

// discard ends the session of an absent client for good, unless the client has just come back.
func (s *Server) discard(cl *mochi.Client) {
	c := connOf(cl)
	place := s.place(cl.ID)
	place.Lock()
	mine := !c.replaced.Load()
	var gone []string
	if mine {
		gone = s.remove(cl)
	}
	place.Unlock()
	if mine {
		c.afresh.Store(true)
		s.tellWill(cl.ID)
		s.tellUnsubscribed(c, gone)
		s.tell(SessionEvent{Kind: SessionExpired, Client: c.info})
	}
}

// remove ends a session and returns its filters. The caller holds the client id's lock (see place).
func (s *Server) remove(cl *mochi.Client) []string {
	gone := s.unsubscribeAll(cl)
	clearInflight(cl)
	s.sessions.forget(cl.ID)
	s.forgetSession(cl.ID)
	if cur, ok := s.broker.Clients.Get(cl.ID); ok && cur == cl {
		s.broker.Clients.Delete(cl.ID)
	}
	return gone
}

// unsubscribeAll is the library's UnsubscribeClient without its hook: a callback must not run under
// a lock.
func (s *Server) unsubscribeAll(cl *mochi.Client) (gone []string) {
	for filter := range cl.State.Subscriptions.GetAll() {
		cl.State.Subscriptions.Delete(filter)
		if s.broker.Topics.Unsubscribe(filter, cl.ID) {
			atomic.AddInt64(&s.broker.Info.Subscriptions, -1)
		}
		gone = append(gone, filter)
	}
	s.audience.changed(gone)
	return gone
}

func (s *Server) tellUnsubscribed(c *conn, filters []string) {
	if len(filters) > 0 {
		s.tell(SessionEvent{Kind: SessionUnsubscribed, Client: c.info, Filters: filters})
	}
}
