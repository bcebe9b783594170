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

// What one subscription may hold before messages are dropped and counted.
const (
	pendingMsgs  = 32_768
	pendingBytes = 16 << 20
)

// largestBuffer is what is kept of a large message.
const largestBuffer = 64 << 10

const flushTimeout = 5 * time.Second

// A publisher waits after each window of bytes, for so long at most, until the server has
// sent on what came before. The server itself holds one back for 10 ms only; a process that
// gets no processor for longer would be cut off by its own server, and with it everybody's
// messages would be lost.
const (
	window     = 256 << 10
	windowWait = time.Second
)

// Conn is a connection to a bus: the gateway's own (Bus.Conn) or a dialled one.
// All methods may be called from any goroutine. Handlers of one subscription
// run one after the other, those of different subscriptions side by side.
type Conn struct {
	nc      *nats.Conn
	keep    *nats.Conn                    // to what is kept on disk; the same as nc on a dialled connection
	queues  []string                      // subjects that lead into the streams' queues; none on a dialled connection
	heard   func(subject string) bool     // nil on a dialled connection
	current func() *server.Server         // nil on a dialled connection
	sure    atomic.Pointer[server.Server] // it knows what this process asks for
	guest   func(sender) any              // what the guard has noted of him; nil on a dialled connection
	hub     bool                          // it leads to a hub: each gateway there is a domain of its own
	streams *streams
	proofs  sync.Map      // of the callers of streams that were asked for here, by their ids
	commit  *committer    // of tracks; nil on a dialled connection
	ended   chan struct{} // closed when the connection has ended and does not come back; see Ended
	denied  denials
	slow    atomic.Uint64
	lost    atomic.Uint64
	buffers sync.Pool     // of *Loan, for messages that append themselves
	flown   atomic.Uint64 // bytes published

	requests sync.Pool // of *outgoing

	own  string                    // what subjects of this gateway begin with; empty on a dialled connection
	ears *gsl.GenericSublist[*ear] // who overhears; nil on a dialled connection

	mu   sync.Mutex
	subs map[*nats.Subscription]struct{}
}

// Stats are the counters of a connection since it was made.
type Stats struct {
	In, Out           uint64 // messages
	InBytes, OutBytes uint64
	Reconnects        uint64
	Slow              uint64 // times a subscription fell behind
	Dropped           uint64 // messages lost to that
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
	l := c.loan()
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

// PublishRaw sends payload as it is. It waits for no answer, though a publisher
// faster than the server is held back by milliseconds, up to 1 s where the process gets no processor. While the server restarts messages are kept, up to 4 MiB, and then refused with an error.
func (c *Conn) PublishRaw(subject, typ string, payload []byte) error {
	return c.PublishHeader(subject, typ, nil, payload)
}

// PublishHeader is PublishRaw with headers, which it keeps.
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

// unheard says that the server would throw a message away, for nobody has asked it for those of the subject. To find that out there is
// a small part of the work. While the server restarts, and until it has heard anew what this process asks for, it is not known: then messages are sent or kept.
func (c *Conn) unheard(subject string) bool {
	s := c.sure.Load()
	return s != nil && s == c.current() && !s.GlobalAccount().SubscriptionInterest(subject) && c.nc.IsConnected()
}

// assure notes that the server at the other end knows what this process asks for.
func (c *Conn) assure(nc *nats.Conn) {
	s := c.current()
	if s != nil && nc.FlushTimeout(flushTimeout) == nil && nc.ConnectedServerId() == s.ID() {
		c.sure.Store(s)
	}
}

// pace waits when a message with n bytes of payload begins another window.
func (c *Conn) pace(subject string, n int) {
	const frame = 64 // what it takes beside subject and payload, about
	size := uint64(len(subject) + n + frame)
	if at := c.flown.Add(size); at/window != (at-size)/window && c.nc.IsConnected() {
		_ = c.nc.FlushTimeout(windowWait)
	}
}

// Subscribe calls fn for every message under pattern (NATS wildcards) until
// stop is called. When it returns the server knows about it. A subscriber that falls 32768
// messages or 16 MiB behind loses the newest ones, which Stats counts.
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

// confirm waits until the server has the subscription. While it restarts there
// is nothing to wait for: the client subscribes again by itself.
func (c *Conn) confirm(sub *nats.Subscription) error {
	if !c.nc.IsConnected() {
		return nil
	}
	if err := c.nc.FlushTimeout(flushTimeout); err != nil && !errors.Is(err, nats.ErrConnectionReconnecting) && c.nc.IsConnected() {
		return err
	}
	// The callback may still be on its way; what the server said before its answer to the flush is known.
	if err := c.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), `"`+sub.Subject+`"`) {
		return refusal(sub.Subject)
	}
	return nil
}

// admit turns a message with headers into ours, or keeps it from the handler:
// notes about streams are the connection's own business.
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

// Flush waits until the server has seen everything sent so far and, on the
// gateway's own connection, until what is to be kept is in its store.
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

// settle waits until what is in the queue of a stream is in its store: a message that the stream must refuse is answered when all before it are.
func (c *Conn) settle(ctx context.Context, queue string) error {
	m := &nats.Msg{Subject: queue, Header: Header{"Nats-Expected-Last-Sequence": {"9223372036854775807"}}}
	if _, err := c.nc.RequestMsgWithContext(ctx, m); err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return c.reason(ctx, err)
	}
	return nil
}

// Heard is Bus.Heard; a dialled connection does not know who listens and says that nobody does.
func (c *Conn) Heard(subject string) bool { return c.heard != nil && c.heard(subject) }

// Ended is closed when a dialled connection is closed, or when the bus does not
// let it in any more.
func (c *Conn) Ended() <-chan struct{} { return c.ended }

// Stats reads the counters.
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

// Close ends the connection; what was published is sent first, if that takes no longer than a second.
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
