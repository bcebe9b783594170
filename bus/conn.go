package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/gsl"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Limits of the messages pending in one subscription before messages are dropped and counted.
const (
	pendingMsgs  = 32_768
	pendingBytes = 16 << 20
)

// largestBuffer is the largest message buffer that is kept for reuse, in bytes.
const largestBuffer = 64 << 10

const flushTimeout = 5 * time.Second

// After each window of bytes a publisher waits, at most windowWait, until the server has forwarded
// what came before. The server itself throttles a publisher for 10 ms only. A process that gets no
// CPU time for longer would be disconnected by its own server, and the messages of all its
// publishers would be lost.
const (
	window     = 256 << 10
	windowWait = time.Second
)

// Conn is a connection to a bus: the gateway's own (Bus.Conn) or a dialled one. All methods may be
// called from any goroutine. Handlers of one subscription run one after the other, those of
// different subscriptions concurrently.
type Conn struct {
	nc      *nats.Conn
	keep    *nats.Conn                    // for stored data; the same as nc on a dialled connection
	queues  []string                      // subjects of the streams' queues; none on a dialled connection
	heard   func(subject string) bool     // nil on a dialled connection
	current func() *server.Server         // nil on a dialled connection
	sure    atomic.Pointer[server.Server] // the server that is known to have all subscriptions of this process
	guest   func(sender) any              // what the guard has noted of the sender; nil on a dialled connection
	hub     bool                          // leads to a hub, where each gateway is a JetStream domain of its own
	streams *streams
	proofs  sync.Map      // Caller.Proof of the streams requested through this connection, by stream id
	commit  *committer    // of tracks; nil on a dialled connection
	ended   chan struct{} // closed when the connection has ended for good; see Ended
	denied  denials
	slow    atomic.Uint64
	lost    atomic.Uint64
	buffers sync.Pool     // of *SharedBuffer, for messages that implement AppendJSONer
	flown   atomic.Uint64 // bytes published

	requests sync.Pool // of *outgoing

	own       string                         // subject prefix of this gateway; empty on a dialled connection
	listeners *gsl.GenericSublist[*listener] // in-process listeners of SubscribeLocal; nil on a dialled connection

	mu   sync.Mutex
	subs map[*nats.Subscription]struct{}
}

// Stats holds the counters of a connection since it was created.
type Stats struct {
	In, Out           uint64 // messages
	InBytes, OutBytes uint64
	Reconnects        uint64
	Slow              uint64 // times a subscription fell behind
	Dropped           uint64 // messages lost because of that
}

func newConn() *Conn {
	c := &Conn{subs: map[*nats.Subscription]struct{}{}, ended: make(chan struct{})}
	c.streams = newStreams(c)
	return c
}

// Publish sends m as JSON.
func (c *Conn) Publish(subject string, m proto.Message) error {
	f, fast := m.(AppendJSONer)
	if !fast {
		p, err := Marshal(JSON, m)
		if err != nil {
			return fmt.Errorf("publish %s: %w", subject, err)
		}
		return c.PublishRaw(subject, JSON, p)
	}
	l := c.shared()
	defer l.Done()
	var err error
	if l.data, err = f.AppendJSON(l.data[:0]); err == nil {
		if !c.unheard(subject) {
			err = c.nc.Publish(subject, l.data) // makes a copy
			c.pace(subject, len(l.data))
		}
		c.tell(subject, JSON, l.data, l)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// PublishRaw sends payload unchanged. It waits for no answer, but a publisher that is faster than
// the server is delayed by milliseconds, or by up to 1 s when the process gets no CPU time. While
// the server restarts, messages are buffered, up to 4 MiB, and then refused with an error.
func (c *Conn) PublishRaw(subject, typ string, payload []byte) error {
	return c.PublishHeader(subject, typ, nil, payload)
}

// PublishHeader is PublishRaw with headers. It takes ownership of h.
func (c *Conn) PublishHeader(subject, typ string, h Header, payload []byte) error {
	if typ = contentType(typ); typ != JSON {
		if h == nil {
			h = Header{}
		}
		h[headerType] = []string{typ}
	}
	var err error
	if len(h) == 0 {
		err = c.nc.Publish(subject, payload)
	} else {
		err = c.nc.PublishMsg(&nats.Msg{Subject: subject, Header: h, Data: payload})
	}
	c.pace(subject, len(payload))
	c.tell(subject, typ, payload, nil)
	if err != nil {
		return fmt.Errorf("publish %s: %w", subject, err)
	}
	return nil
}

// unheard reports that the server would discard a message because nobody subscribes to its subject.
// The check costs a fraction of publishing. The answer is not known while the server restarts and
// until the server has learned the subscriptions of this process again; unheard then returns false
// and the message is sent or buffered.
func (c *Conn) unheard(subject string) bool {
	s := c.sure.Load()
	return s != nil && s == c.current() && !s.GlobalAccount().SubscriptionInterest(subject) && c.nc.IsConnected()
}

// assure records that the server at the other end knows all subscriptions of this process.
func (c *Conn) assure(nc *nats.Conn) {
	s := c.current()
	if s != nil && nc.FlushTimeout(flushTimeout) == nil && nc.ConnectedServerId() == s.ID() {
		c.sure.Store(s)
	}
}

// pace waits when a message with n bytes of payload begins another window.
func (c *Conn) pace(subject string, n int) {
	const frame = 64 // bytes of a message beside subject and payload, approximately
	size := uint64(len(subject) + n + frame)
	if at := c.flown.Add(size); at/window != (at-size)/window && c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(windowWait)
	}
}

// Subscribe calls fn for every message that matches pattern (NATS wildcards) until stop is called.
// When Subscribe returns, the server knows the subscription. A subscriber that falls 32768 messages
// or 16 MiB behind loses the newest ones; Stats counts them.
func (c *Conn) Subscribe(pattern string, fn func(Msg)) (stop func(), err error) {
	sub, err := c.nc.Subscribe(pattern, func(m *nats.Msg) {
		if m.Header == nil {
			fn(Msg{Subject: m.Subject, Reply: m.Reply, ContentType: JSON, Data: m.Data, conn: c})
		} else if msg, ok := c.admit(m); ok {
			fn(msg)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribe %s: %w", pattern, err)
	}
	_ = sub.SetPendingLimits(pendingMsgs, pendingBytes)
	if err := c.confirm(sub); err != nil {
		_ = sub.Unsubscribe()
		return nil, fmt.Errorf("subscribe %s: %w", pattern, err)
	}
	c.mu.Lock()
	c.subs[sub] = struct{}{}
	c.mu.Unlock()
	return func() { c.unsubscribe(sub) }, nil
}

func (c *Conn) unsubscribe(sub *nats.Subscription) {
	c.mu.Lock()
	if _, ok := c.subs[sub]; ok {
		delete(c.subs, sub)
		n, _ := sub.Dropped()
		c.lost.Add(uint64(max(n, 0)))
	}
	c.mu.Unlock()
	_ = sub.Unsubscribe()
}

// confirm waits until the server has the subscription. While the server restarts there is nothing
// to wait for: the client subscribes again by itself.
func (c *Conn) confirm(sub *nats.Subscription) error {
	if !c.nc.IsConnected() {
		return nil
	}
	if err := c.nc.FlushTimeout(flushTimeout); err != nil && !errors.Is(err, nats.ErrConnectionReconnecting) && c.nc.IsConnected() {
		return err
	}
	// The error callback may still be pending, but LastError already holds what the server sent
	// before its answer to the flush.
	if err := c.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+sub.Subject+`"`) {
		return refusal(sub.Subject)
	}
	return nil
}

// admit converts a message with headers into a Msg. It returns false for messages that the handler
// must not see: control messages of streams are handled by the connection itself.
func (c *Conn) admit(m *nats.Msg) (Msg, bool) {
	if c.streams.note(m) {
		return Msg{}, false
	}
	msg := c.message(m)
	if _, ok := m.Header[headerLease]; ok {
		if err := c.streams.open(msg); err != nil {
			_ = msg.Fail(err)
			return Msg{}, false
		}
	}
	return msg, true
}

func (c *Conn) message(m *nats.Msg) Msg {
	return Msg{
		Subject: m.Subject, Reply: m.Reply, ContentType: contentType(first(m.Header, headerType)),
		Header: m.Header, Data: m.Data, conn: c,
	}
}

// Flush waits until the server has seen everything sent so far and, on the gateway's own
// connection, until messages of the state and event streams are in the store. Without a deadline in
// ctx it waits at most 5 s.
func (c *Conn) Flush(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, flushTimeout)
		defer cancel()
	}
	if err := c.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("flush: %w", c.reason(ctx, err))
	}
	for _, q := range c.queues {
		if err := c.settle(ctx, q); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

// settle waits until everything in the queue of a stream is in its store: it sends a message that
// the stream must refuse, and the refusal arrives after all earlier messages have been stored.
func (c *Conn) settle(ctx context.Context, queue string) error {
	m := &nats.Msg{Subject: queue, Header: Header{"Nats-Expected-Last-Sequence": {"9223372036854775807"}}}
	if _, err := c.nc.RequestMsgWithContext(ctx, m); err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return c.reason(ctx, err)
	}
	return nil
}

// HasSubscribers is Bus.HasSubscribers. A dialled connection does not know the subscriptions of
// others and returns false.
func (c *Conn) HasSubscribers(subject string) bool { return c.heard != nil && c.heard(subject) }

// Ended returns a channel that is closed when a dialled connection is closed, or when the bus no
// longer admits it.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Stats returns the counters.
func (c *Conn) Stats() Stats {
	s := c.nc.Stats()
	st := Stats{
		In: s.InMsgs, Out: s.OutMsgs, InBytes: s.InBytes, OutBytes: s.OutBytes, Reconnects: s.Reconnects,
		Slow: c.slow.Load(), Dropped: c.lost.Load(),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for sub := range c.subs {
		n, _ := sub.Dropped()
		st.Dropped += uint64(max(n, 0))
	}
	return st
}

// Close ends the connection. It first sends what has been published, but waits no longer than a
// second for that.
func (c *Conn) Close() {
	if c.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Flush(ctx)
	}
	c.streams.close()
	c.nc.Close()
	if c.keep != c.nc {
		c.keep.Close()
	}
}

// trouble is nats.go's asynchronous error callback.
func (c *Conn) trouble(_ *nats.Conn, _ *nats.Subscription, err error) {
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		c.slow.Add(1)
	case errors.Is(err, nats.ErrPermissionViolation):
		c.denied.deny(err)
	}
}
