package bus

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Headers of a stream of answers. The caller sends Gw-Lease (milliseconds) and Gw-Stream (an id
// unique to the stream) with the request. It renews the lease with a message with Gw-Renew (that
// id) on the same subject, and ends the stream early with Gw-Cancel (that id). Answers are numbered
// from 1 by Gw-Seq. Gw-Alive answers a renewal. Gw-End, with or without the error headers, comes
// last. If the caller sends Gw-Window, at most that many answers are sent beyond the last one
// acknowledged by a message with Gw-Ack (that id) and Gw-Seq (the number of the answer).
const (
	headerLease  = "Gw-Lease"
	headerStream = "Gw-Stream"
	headerRenew  = "Gw-Renew"
	headerCancel = "Gw-Cancel"
	headerSeq    = "Gw-Seq"
	headerAlive  = "Gw-Alive"
	headerEnd    = "Gw-End"
	headerWindow = "Gw-Window"
	headerAck    = "Gw-Ack"
)

const (
	maxStreams   = 4096             // open streams that one connection serves
	mostStreams  = maxStreams / 4   // of these, streams of one caller, so that others get their share
	defaultLease = 30 * time.Second // if the caller sent none
	minLease     = time.Second
	maxLease     = 5 * time.Minute
)

// streams holds the streams of answers that this connection serves, by id. A closed stream is kept
// for a while so that a late Send is refused instead of reopening it.
type streams struct {
	conn *Conn
	mu   sync.Mutex
	all  map[string]*serving
	of   map[string]int // number of streams per caller identity
}

type serving struct {
	mu     sync.Mutex // orders answers and their numbers; held while an answer is sent
	seq    atomic.Uint64
	window uint64        // answers that may be in flight; 0: any number
	acked  atomic.Uint64 // number of the last answer the caller has acknowledged
	room   chan struct{} // signals an acknowledgement
	reply  string
	who    string // identity of the caller
	lease  time.Duration
	timer  *time.Timer
	end    *time.Timer // fires at the caller's deadline, if any
	done   chan struct{}
	closed time.Time // guarded by streams.mu
}

func newStreams(c *Conn) *streams {
	return &streams{conn: c, all: map[string]*serving{}, of: map[string]int{}}
}

// open registers the stream that m requests. It fails if there are too many.
func (s *streams) open(m Msg) error {
	if m.answerable() != nil {
		return nil // the handler's answer reports the error
	}
	_, err := s.find(m)
	return err
}

// find returns the stream that m started, creating it on first use. It fails if there are too many.
func (s *streams) find(m Msg) (*serving, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.stream()
	if st, ok := s.all[id]; ok {
		return st, nil
	}
	s.sweep()
	who := m.Caller().Identity
	switch {
	case len(s.all) >= maxStreams:
		return nil, Errorf(ResourceExhausted, "%s: %d streams are open already", m.Subject, maxStreams)
	case s.of[who] >= mostStreams && who != Local:
		return nil, Errorf(ResourceExhausted, "%s: %s has %d streams open already", m.Subject, who, mostStreams)
	}
	st := &serving{reply: m.Reply, who: who, lease: lease(m), window: windowOf(m), room: make(chan struct{}, 1), done: make(chan struct{})}
	st.timer = time.AfterFunc(st.lease, func() { s.expire(st) })
	if d, ok := m.Timeout(); ok {
		st.end = time.AfterFunc(d, func() { s.expire(st) })
	}
	s.all[id] = st
	s.of[who]++
	return st, nil
}

// forget removes a closed stream. The caller holds mu.
func (s *streams) forget(id string, st *serving) {
	delete(s.all, id)
	if s.of[st.who]--; s.of[st.who] <= 0 {
		delete(s.of, st.who)
	}
}

// windowOf returns how many answers may be in flight. 0 means any number, also for a caller without
// a stream id, which could not acknowledge them.
func windowOf(m Msg) uint64 {
	if first(m.Header, headerStream) == "" {
		return 0
	}
	n, _ := strconv.ParseUint(first(m.Header, headerWindow), 10, 32) // an invalid number means no limit
	return n
}

func lease(m Msg) time.Duration {
	ms, err := strconv.ParseInt(first(m.Header, headerLease), 10, 32)
	if err == nil && ms > 0 {
		return min(max(time.Duration(ms)*time.Millisecond, minLease), maxLease)
	}
	d, _ := m.Timeout()
	return max(d, defaultLease)
}

// sweep removes streams that were closed more than a minute ago. The caller holds mu.
func (s *streams) sweep() {
	if len(s.all) < 64 {
		return
	}
	for k, st := range s.all {
		if !st.closed.IsZero() && time.Since(st.closed) > time.Minute {
			s.forget(k, st)
		}
	}
}

func (s *streams) expire(st *serving) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut(st)
}

// shut closes st. The caller holds mu.
func (s *streams) shut(st *serving) {
	if !st.closed.IsZero() {
		return
	}
	st.closed = time.Now()
	st.timer.Stop()
	if st.end != nil {
		st.end.Stop()
	}
	close(st.done)
}

// remove removes the stream that m started, after its last answer.
func (s *streams) remove(m Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := m.stream()
	if st, ok := s.all[id]; ok {
		s.shut(st)
		s.forget(id, st)
	}
}

// stream returns the id of the stream that m starts. The reply subject alone is not enough: the
// server gives each message from another account a new one.
func (m Msg) stream() string {
	if id := first(m.Header, headerStream); id != "" {
		return streamKey(m.Header, id)
	}
	return m.Reply
}

// streamKey makes the id unique among callers, so that a caller can neither collide with nor end
// the stream of another account.
func streamKey(h Header, id string) string {
	from, _ := senderOf(h)
	return from.Account + "\x00" + id
}

func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, st := range s.all {
		s.shut(st)
		s.forget(k, st)
	}
}

// note handles the caller's control messages of a stream. It returns false for any other message.
func (s *streams) note(m *nats.Msg) bool {
	if id := first(m.Header, headerCancel); id != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if st, ok := s.all[streamKey(m.Header, id)]; ok {
			s.shut(st)
		}
		return true
	}
	if id := first(m.Header, headerAck); id != "" {
		s.acknowledge(streamKey(m.Header, id), first(m.Header, headerSeq))
		return true
	}
	id := first(m.Header, headerRenew)
	if id == "" {
		return false
	}
	if st, ok := s.renew(streamKey(m.Header, id)); ok {
		// Sent to the reply subject, which keeps the route of the answers open as well.
		_ = s.conn.nc.PublishMsg(&nats.Msg{Subject: st.reply, Header: Header{headerAlive: {"1"}}})
	}
	return true
}

// renew extends the lease of an open stream.
func (s *streams) renew(key string) (*serving, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, ok := s.all[key]
	if !ok || !st.closed.IsZero() {
		return nil, false
	}
	st.timer.Reset(st.lease)
	return st, true
}

// acknowledge records how far the caller is, and renews the lease. It never waits for an answer
// that is being sent, because control messages of other callers queue behind it.
func (s *streams) acknowledge(key, number string) {
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return
	}
	st, ok := s.renew(key)
	if !ok {
		return
	}
	n = min(n, st.seq.Load())
	for was := st.acked.Load(); n > was && !st.acked.CompareAndSwap(was, n); was = st.acked.Load() {
	}
	select {
	case st.room <- struct{}{}:
	default:
	}
}

// full reports whether the window of the caller is used up.
func (st *serving) full() bool {
	return st.window > 0 && st.seq.Load() >= st.acked.Load()+st.window
}

// Ready waits until the caller of a stream accepts one more answer. A sender of many answers calls
// it before each, in one goroutine. It returns Canceled when nobody listens any more, or the error
// of ctx.
func (m Msg) Ready(ctx context.Context) error {
	if err := m.answerable(); err != nil {
		return err
	}
	st, err := m.conn.streams.find(m)
	if err != nil {
		return err
	}
	for {
		select {
		case <-st.done:
			return Errorf(Canceled, "%s: the caller disconnected", m.Subject)
		default:
		}
		if !st.full() {
			return nil
		}
		select {
		case <-st.room:
		case <-st.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Done returns a channel that is closed when the caller of a stream has cancelled, gone silent or
// reached its deadline.
func (m Msg) Done() <-chan struct{} {
	if m.answerable() == nil {
		if st, err := m.conn.streams.find(m); err == nil {
			return st.done
		}
	}
	done := make(chan struct{})
	close(done)
	return done
}

// Send sends one answer of a stream, in the content type of the request. It returns Canceled when
// nobody listens any more.
func (m Msg) Send(v proto.Message) error {
	typ, p, err := Answer(m.ContentType, v)
	if err != nil {
		return err
	}
	return m.SendRaw(typ, p)
}

// SendRaw is Send for an encoded payload.
func (m Msg) SendRaw(typ string, payload []byte) error {
	if err := m.answerable(); err != nil {
		return err
	}
	st, err := m.conn.streams.find(m)
	if err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	select {
	case <-st.done:
		return Errorf(Canceled, "%s: the caller disconnected", m.Subject)
	default:
	}
	h := m.traced(Header{headerSeq: {strconv.FormatUint(st.seq.Add(1), 10)}})
	return m.conn.PublishHeader(m.Reply, typ, h, payload)
}

// End ends a stream of answers: successfully if err is nil, otherwise with err as its outcome.
func (m Msg) End(err error) error {
	if err := m.answerable(); err != nil {
		return err
	}
	end := nats.NewMsg(m.Reply)
	if err != nil {
		end = AsError(err).failure(m.Reply)
	}
	end.Header = m.traced(end.Header)
	if st, none := m.conn.streams.find(m); none == nil {
		st.mu.Lock()
		end.Header[headerEnd] = []string{strconv.FormatUint(st.seq.Load(), 10)}
		st.mu.Unlock()
	} else {
		end.Header[headerEnd] = []string{"0"}
	}
	m.conn.streams.remove(m)
	return m.conn.nc.PublishMsg(end)
}
