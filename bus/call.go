package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// callTimeout bounds a call whose context has no deadline.
const callTimeout = 10 * time.Second

const (
	streamLease  = 15 * time.Second
	streamWindow = 256 // unacknowledged answers in flight to a slow caller
)

type headerKey struct{}

// WithHeader returns a context whose calls carry h, a trace id for instance.
func WithHeader(ctx context.Context, h Header) context.Context {
	return context.WithValue(ctx, headerKey{}, h)
}

type proofKey struct{}

// WithCaller returns a context whose streams are made on behalf of w. They carry w.Header, and this
// process knows w.Proof for as long as they last.
func WithCaller(ctx context.Context, w Caller) context.Context {
	if w.Proof != nil {
		ctx = context.WithValue(ctx, proofKey{}, w.Proof)
	}
	return WithHeader(ctx, w.Header())
}

// Call sends req as JSON to subject and decodes the one answer into resp, which may be nil. Its
// error is an *Error (errors.As): the error the other side returned, Unavailable if nobody listens
// there, DeadlineExceeded, Canceled or PermissionDenied. A context without deadline gets 10 s.
func (c *Conn) Call(ctx context.Context, subject string, req, resp proto.Message) error {
	p, err := Marshal(JSON, req)
	if err != nil {
		return fmt.Errorf("call %s: %w", subject, err)
	}
	typ, answer, err := c.CallRaw(ctx, subject, JSON, p)
	if err != nil || resp == nil {
		return err
	}
	if err := Unmarshal(typ, answer, resp); err != nil {
		return fmt.Errorf("call %s: answer: %w", subject, Errorf(Internal, "%s", AsError(err).Message))
	}
	return nil
}

// CallRaw is Call for encoded payloads. typ is the content type of payload; the answer has the same
// type.
func (c *Conn) CallRaw(ctx context.Context, subject, typ string, payload []byte) (string, []byte, error) {
	ctx, stop := c.bounded(ctx, subject)
	defer stop()
	out, _ := c.requests.Get().(*outgoing)
	if out == nil {
		out = &outgoing{msg: nats.Msg{Header: Header{}}}
	}
	out.fill(ctx, subject, typ, payload)
	m, err := c.nc.RequestMsgWithContext(ctx, &out.msg) // does not retain the message
	out.msg.Data = nil
	c.requests.Put(out)
	if err == nil {
		if e := failed(m); e != nil {
			return "", nil, fmt.Errorf("call %s: %w", subject, e)
		}
		return contentType(first(m.Header, headerType)), m.Data, nil
	}
	return "", nil, fmt.Errorf("call %s: %w", subject, c.reason(ctx, err))
}

// bounded gives ctx a deadline and cancels it on a permission error for subject.
func (c *Conn) bounded(ctx context.Context, subject string) (context.Context, func()) {
	done := func() {}
	if _, ok := ctx.Deadline(); !ok {
		ctx, done = context.WithTimeout(ctx, callTimeout)
	}
	if c.heard != nil { // the gateway's own connection has all rights
		return ctx, done
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := c.denied.watch(subject, cancel)
	return ctx, func() { c.denied.unwatch(w); cancel(nil); done() }
}

// errOut is the error of a client that was disconnected while it waited, for instance because it
// revoked itself.
var errOut = Errorf(Unavailable, "the gateway has ended this client's access; whether the call was carried out is not known")

// reason converts the error of a call to an *Error that says what to do about it.
func (c *Conn) reason(ctx context.Context, err error) *Error {
	if cause := context.Cause(ctx); cause != nil {
		if e := new(Error); errors.As(cause, &e) {
			return e
		}
	}
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return Errorf(Unavailable, Nobody)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return Errorf(DeadlineExceeded, NoAnswer)
	case errors.Is(err, context.Canceled):
		return Errorf(Canceled, "the caller gave up")
	case errors.Is(err, nats.ErrConnectionClosed) && c.heard == nil:
		return errOut
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrReconnectBufExceeded):
		return Errorf(Unavailable, "no connection to the bus: %v", err)
	case errors.Is(err, nats.ErrMaxPayload):
		return Errorf(ResourceExhausted, "the request is larger than %d bytes", c.nc.MaxPayload())
	}
	return AsError(err)
}

// outgoing is a request with its headers. A connection reuses them, because with its headers a
// request takes more memory than the rest of a call.
type outgoing struct {
	msg      nats.Msg
	typ      [1]string
	deadline [1]string
}

func (o *outgoing) fill(ctx context.Context, subject, typ string, payload []byte) {
	m := &o.msg
	m.Subject, m.Data = subject, payload
	clear(m.Header)
	if h, ok := ctx.Value(headerKey{}).(Header); ok {
		maps.Copy(m.Header, h)
	}
	if typ = contentType(typ); typ != JSON {
		o.typ[0] = typ
		m.Header[headerType] = o.typ[:]
	}
	if d, ok := ctx.Deadline(); ok {
		ms := max(time.Until(d).Milliseconds(), 1)
		o.deadline[0] = strconv.FormatInt(ms, 10)
		m.Header[headerDeadline] = o.deadline[:]
	}
}

// Stream sends req to subject and calls each for every answer until the end marker arrives (nil),
// the other side fails, each returns an error (returned unchanged) or ctx ends. If Stream stops
// early it tells the other side. An answer without a number comes from a method that answers once,
// and is the only one. Lost answers are an error (Aborted), as is an actor that disappears
// (Unavailable, within 15 s). Without a deadline in ctx a stream may last for ever.
func (c *Conn) Stream(ctx context.Context, subject string, req proto.Message, each func(Msg) error) error {
	p, err := Marshal(JSON, req)
	if err != nil {
		return fmt.Errorf("stream %s: %w", subject, err)
	}
	return c.StreamRaw(ctx, subject, JSON, p, each)
}

// StreamRaw is Stream for an encoded payload; answers have the same content type.
func (c *Conn) StreamRaw(ctx context.Context, subject, typ string, payload []byte, each func(Msg) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := c.denied.watch(subject, cancel)
	defer c.denied.unwatch(w)

	r := reading{conn: c, subject: subject, inbox: c.nc.NewInbox(), answers: make(chan *nats.Msg, 4096), each: each, last: time.Now()}
	sub, err := c.nc.ChanSubscribe(r.inbox, r.answers)
	if err != nil {
		return fmt.Errorf("stream %s: %w", subject, c.reason(ctx, err))
	}
	defer func() { _ = sub.Unsubscribe() }()
	out := outgoing{msg: nats.Msg{Header: Header{}}}
	out.fill(ctx, subject, typ, payload)
	m := &out.msg
	m.Reply = r.inbox
	m.Header[headerStream] = []string{r.inbox}
	m.Header[headerLease] = []string{strconv.FormatInt(streamLease.Milliseconds(), 10)}
	m.Header[headerWindow] = []string{strconv.Itoa(streamWindow)}
	if proof := ctx.Value(proofKey{}); proof != nil {
		c.proofs.Store(r.inbox, proof)
		defer c.proofs.Delete(r.inbox)
	}
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("stream %s: %w", subject, c.reason(ctx, err))
	}
	return r.run(ctx)
}

// reading is the caller's end of a stream of answers.
type reading struct {
	conn    *Conn
	subject string
	inbox   string
	answers chan *nats.Msg
	each    func(Msg) error
	seq     uint64
	last    time.Time
}

func (r *reading) run(ctx context.Context) error {
	look := time.NewTicker(streamLease / 3)
	defer look.Stop()
	over := make(chan struct{})
	defer close(over)
	go r.keep(over)
	for {
		select {
		case <-ctx.Done():
			r.tell(headerCancel)
			return fmt.Errorf("stream %s: %w", r.subject, r.conn.reason(ctx, ctx.Err()))
		case <-r.conn.ended:
			return fmt.Errorf("stream %s: %w", r.subject, errOut)
		case <-look.C:
			if time.Since(r.last) > streamLease {
				r.tell(headerCancel)
				return fmt.Errorf("stream %s: %w", r.subject, Errorf(Unavailable, "the actor no longer answers"))
			}
		case m := <-r.answers:
			r.last = time.Now()
			if end, err := r.take(m); end {
				return err
			}
			r.last = time.Now() // each may have taken long
		}
	}
}

// keep renews the lease until over is closed, also while each takes long to process an answer.
func (r *reading) keep(over <-chan struct{}) {
	renew := time.NewTicker(streamLease / 3)
	defer renew.Stop()
	for {
		select {
		case <-over:
			return
		case <-renew.C:
			r.tell(headerRenew)
		}
	}
}

// take handles one answer; end is true if it was the last one.
func (r *reading) take(m *nats.Msg) (end bool, err error) {
	if first(m.Header, "Status") == "503" {
		return true, fmt.Errorf("stream %s: %w", r.subject, r.conn.reason(context.Background(), nats.ErrNoResponders))
	}
	if _, alive := m.Header[headerAlive]; alive {
		return false, nil
	}
	total, marked := m.Header[headerEnd]
	if e := failed(m); e != nil {
		return true, fmt.Errorf("stream %s: %w", r.subject, e)
	}
	if marked {
		if total[0] != strconv.FormatUint(r.seq, 10) {
			return true, fmt.Errorf("stream %s: %w", r.subject, Errorf(Aborted, "%d answers arrived of %s", r.seq, total[0]))
		}
		return true, nil
	}
	number := first(m.Header, headerSeq)
	if number == "" {
		return true, r.each(r.conn.message(m))
	}
	if r.seq++; number != strconv.FormatUint(r.seq, 10) {
		r.tell(headerCancel)
		return true, fmt.Errorf("stream %s: %w", r.subject, Errorf(Aborted, "answers before number %s were lost", number))
	}
	if err := r.each(r.conn.message(m)); err != nil {
		r.tell(headerCancel)
		return true, err
	}
	if r.seq%(streamWindow/2) == 0 {
		r.tell(headerAck)
	}
	return false, nil
}

func (r *reading) tell(header string) {
	m := &nats.Msg{Subject: r.subject, Header: Header{header: {r.inbox}}}
	switch header {
	case headerRenew:
		m.Reply = r.inbox // so that the server reports when nobody is left
	case headerAck:
		m.Header[headerSeq] = []string{strconv.FormatUint(r.seq, 10)}
	}
	_ = r.conn.nc.PublishMsg(m)
}
