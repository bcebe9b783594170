package mqtt

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// traffic counts what has passed on one connection.
type traffic struct {
	bytesIn, bytesOut       atomic.Int64
	messagesIn, messagesOut atomic.Int64
	dropped, throttled      atomic.Int64
	// When SessionThrottled or SessionDropped was last reported, in ns.
	told atomic.Int64
}

// strainEvery is the shortest interval between reports that a client is throttled or loses
// messages.
const strainEvery = 5 * time.Second

func (s *Server) sent(c *conn) {
	s.stats.messagesOut.Add(1)
	c.traffic.messagesOut.Add(1)
}

// lost counts a message that a client did not get.
func (s *Server) lost(c *conn) {
	s.stats.dropped.Add(1)
	c.traffic.dropped.Add(1)
	s.strain(c, SessionDropped)
}

func (s *Server) strain(c *conn, what SessionKind) {
	if what == SessionThrottled {
		c.traffic.throttled.Add(1)
	}
	now := int64(time.Since(s.begun)) | 1
	if last := c.traffic.told.Load(); (last == 0 || now-last >= int64(strainEvery)) && c.traffic.told.CompareAndSwap(last, now) {
		s.tell(SessionEvent{Kind: what, Client: c.info})
	}
}

// Traffic is what has passed on a client's connection, and the state of its session.
type Traffic struct {
	Connected               bool // false: the client is away and its session is kept
	Subscriptions           []Subscription
	BytesIn, BytesOut       int64
	MessagesIn, MessagesOut int64
	Dropped                 int64 // messages lost because the queue or the buffer was full
	Throttled               int64 // packets that had to wait for the client's budget
	Queued, QueuedBytes     int   // messages not yet acknowledged
}

// Subscription is one filter of a client.
type Subscription struct {
	Filter string
	QoS    byte
}

// Traffic returns the counters of a client.
func (s *Server) Traffic(ci ClientInfo) Traffic {
	c := ci.conn
	if c == nil {
		return Traffic{}
	}
	n := &c.traffic
	t := Traffic{
		Connected: !c.client.Closed(),
		BytesIn:   n.bytesIn.Load(), BytesOut: n.bytesOut.Load(), MessagesIn: n.messagesIn.Load(), MessagesOut: n.messagesOut.Load(),
		Dropped: n.dropped.Load(), Throttled: n.throttled.Load(), QueuedBytes: s.sessions.queued(ci.ID),
	}
	for filter, sub := range c.client.State.Subscriptions.GetAll() {
		t.Subscriptions = append(t.Subscriptions, Subscription{filter, sub.Qos})
	}
	slices.SortFunc(t.Subscriptions, func(a, b Subscription) int { return strings.Compare(a.Filter, b.Filter) })
	for _, pk := range c.client.State.Inflight.GetAll(false) {
		if pk.FixedHeader.Type == packets.Publish {
			t.Queued++
		}
	}
	return t
}

// Cut ends the connection and the session of the client, if the connection is still the one of ci.
// It returns false otherwise.
func (s *Server) Cut(ci ClientInfo) bool {
	cl, ok := s.broker.Clients.Get(ci.ID)
	if !ok || ci.conn == nil || connOf(cl) != ci.conn {
		return false
	}
	s.hangUp(cl, packets.ErrAdministrativeAction)
	s.discard(cl)
	return true
}

// Present reports whether the broker still has the connection or session of a client.
func (s *Server) Present(ci ClientInfo) bool {
	cl, ok := s.broker.Clients.Get(ci.ID)
	return ok && connOf(cl) == ci.conn || ci.conn != nil && !ci.conn.over.Load()
}
