package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Pipe carries many transactions at a time over one Modbus TCP connection, each with its own deadline; their answers may come in any order.
// Do may be called by any number of goroutines, and as many requests are under way: whoever calls it limits that. It has no goroutine of its
// own: one of the callers that wait reads for all of them. The Pipe never closes, reopens or repeats anything.
type Pipe struct {
	conn Conn
	opts Options
	rx   *input
	lead chan struct{} // holds a token while nobody reads; whoever has it owns rx and began

	began time.Time // when the frame begun in rx did
	out   []byte    // of whoever writes

	mu      sync.Mutex
	queue   []*turn // not sent
	waiting []*turn // sent
	free    []*turn
	writing bool
	reading bool
	until   time.Time // the read deadline
	heard   time.Time // when something last came
	last    uint16    // transaction id
	owed    owed
	lost    error
}

// turn is one transaction.
type turn struct {
	request  Request
	want     want
	id       uint16
	deadline time.Time
	over     bool
	body     []byte // of the answer, from the unit on; nil: none was due
	err      error
	done     chan struct{} // gets a token when it is over, unless its caller has given it up
}

// NewPipe makes a Pipe over an open connection. It does no I/O.
func NewPipe(conn Conn, opts Options) *Pipe {
	opts, _ = opts.complete(TCP)
	p := &Pipe{conn: conn, opts: opts, rx: newInput(conn), lead: make(chan struct{}, 1)}
	p.lead <- struct{}{}
	return p
}

// Do sends r once and waits for its answer. It returns within the request's timeout or as soon as ctx ends. Errors are those of Link.Do;
// one that costs the connection ends all transactions that are under way.
func (p *Pipe) Do(ctx context.Context, r Request) (Response, error) {
	if err := r.Check(TCP); err != nil {
		return Response{}, &unsentError{err}
	}
	if r.Timeout <= 0 {
		r.Timeout = p.opts.Timeout
	}
	body, err := p.carry(ctx, r)
	switch {
	case err != nil:
		return Response{}, fmt.Errorf("%s: %w", r, err)
	case body == nil:
		return Response{}, nil
	}
	answer, err := answerOf(r, body[1:])
	if err != nil {
		return Response{}, fmt.Errorf("%s: %w", r, err)
	}
	return answer, nil
}

func (p *Pipe) carry(ctx context.Context, r Request) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, notSent(noAnswer(ctx, 0))
	}
	if err := p.look(r.Write()); err != nil {
		return nil, err
	}
	t, writer, err := p.enter(ctx, r)
	if err != nil {
		return nil, err
	}
	if writer {
		runtime.Gosched() // those who are about to send go with it
		p.flush()
	}
	select {
	case <-t.done:
	case <-p.lead:
		p.read(ctx, t)
		p.lead <- struct{}{}
		<-t.done
	case <-ctx.Done():
		if !p.giveUp(ctx, t) {
			<-t.done
		}
	}
	body, err := t.body, t.err
	p.mu.Lock()
	t.body, t.err, t.request.Data = nil, nil, nil
	p.free = append(p.free, t)
	p.mu.Unlock()
	return body, err
}

// look sees a peer that has closed before a request is out, so that it is certain that it was not sent. Somebody who reads sees it anyway.
func (p *Pipe) look(write bool) error {
	p.mu.Lock()
	skip := p.reading || p.rx.raw == nil || !write && time.Since(p.heard) < idle
	p.mu.Unlock()
	if skip {
		return nil
	}
	select {
	case <-p.lead:
	default:
		return nil
	}
	err := p.conn.SetReadDeadline(time.Now().Add(time.Second))
	came := false
	if err == nil {
		came, err = p.rx.poll()
	}
	if err == nil && came {
		err = p.take()
	}
	if err != nil {
		p.fail(fmt.Errorf("read: %w", err))
	}
	p.lead <- struct{}{}
	return nil // enter tells what has been lost
}

// enter puts a transaction into the queue; writer says that its caller is to write the queue out.
func (p *Pipe) enter(ctx context.Context, r Request) (t *turn, writer bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost != nil {
		return nil, false, notSent(p.lost)
	}
	if n := len(p.free); n > 0 {
		t, p.free = p.free[n-1], p.free[:n-1]
		t.over = false
	} else {
		t = &turn{done: make(chan struct{}, 1)}
	}
	t.request, t.want, t.deadline = r, wantOf(r), sooner(ctx, time.Now().Add(r.Timeout))
	p.queue = append(p.queue, t)
	if p.reading && t.deadline.Before(p.until) {
		p.until = t.deadline
		_ = p.conn.SetReadDeadline(t.deadline) // an error is whoever reads'
	}
	writer = !p.writing
	p.writing = true
	return t, writer, nil
}

// flush writes the queue until it is empty.
func (p *Pipe) flush() {
	for {
		p.mu.Lock()
		if len(p.queue) == 0 || p.lost != nil {
			p.writing = false
			p.mu.Unlock()
			return
		}
		p.out = p.out[:0]
		var until time.Time
		for _, t := range p.queue {
			t.id = p.newID()
			at := len(p.out)
			p.out = append(p.out, byte(t.id>>8), byte(t.id), 0, 0, 0, 0, t.request.Unit)
			p.out = AppendRequest(p.out, t.request)
			binary.BigEndian.PutUint16(p.out[at+4:], uint16(len(p.out)-at-6))
			p.waiting = append(p.waiting, t)
			if t.deadline.After(until) {
				until = t.deadline
			}
		}
		clear(p.queue)
		p.queue = p.queue[:0]
		p.mu.Unlock()
		err := p.conn.SetWriteDeadline(until)
		n := 0
		if err == nil {
			n, err = p.conn.Write(p.out)
		}
		if err != nil {
			p.cut(n, fmt.Errorf("write: %w", err))
		}
	}
}

// newID is an id that no transaction has which is under way or may still be answered.
func (p *Pipe) newID() uint16 {
	for {
		p.last++
		if p.sent(p.last) == nil && !slices.Contains(p.owed.transactions, p.last) {
			return p.last
		}
	}
}

// cut is the end of a connection that took only n bytes of what was written: requests of which it took none were not sent.
func (p *Pipe) cut(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at := 0; at < len(p.out); at += 6 + int(binary.BigEndian.Uint16(p.out[at+4:])) {
		if at < n {
			continue
		}
		if t := p.sent(binary.BigEndian.Uint16(p.out[at:])); t != nil {
			p.finish(t, nil, &lostError{notSent(err)})
		}
	}
	p.end(err)
}

// sent is the transaction with an id, if it is waited for.
func (p *Pipe) sent(id uint16) *turn {
	for _, t := range p.waiting {
		if t.id == id {
			return t
		}
	}
	return nil
}

// read reads for all who wait until t is over.
func (p *Pipe) read(ctx context.Context, t *turn) {
	if done := ctx.Done(); done != nil {
		defer context.AfterFunc(ctx, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.reading {
				_ = p.conn.SetReadDeadline(time.Unix(1, 0))
			}
		})()
	}
	for p.ready(ctx, t) {
		err := p.rx.fill()
		if err == nil {
			err = p.take()
		}
		if err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || LinkLost(err)) {
			p.fail(fmt.Errorf("read: %w", err))
		}
	}
}

// ready ends what is past its deadline and says whether to read on for t.
func (p *Pipe) ready(ctx context.Context, t *turn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reading = true
	now := time.Now()
	p.expire(now)
	if !t.over && ctx.Err() != nil {
		p.drop(ctx, t)
		t.done <- struct{}{}
	}
	if t.over {
		p.reading = false
		return false
	}
	p.until = t.deadline
	for _, all := range [][]*turn{p.waiting, p.queue} {
		for _, o := range all {
			p.until = earlier(p.until, o.deadline)
		}
	}
	if err := p.conn.SetReadDeadline(p.until); err != nil {
		p.end(err)
	}
	if ctx.Err() != nil { // its end may have set the deadline just before
		_ = p.conn.SetReadDeadline(now)
	}
	return true
}

// expire ends the transactions that are past their deadline; the caller reads.
func (p *Pipe) expire(now time.Time) {
	for _, t := range slices.Clone(p.queue) {
		if !now.Before(t.deadline) {
			p.finish(t, nil, notSent(noAnswer(context.Background(), t.request.Timeout)))
		}
	}
	for _, t := range slices.Clone(p.waiting) {
		if now.Before(t.deadline) || t.over {
			continue
		}
		err := noAnswer(context.Background(), t.request.Timeout)
		if b := p.rx.bytes(); len(b) > 0 && (now.Sub(p.began) >= t.request.Timeout || len(b) > 1 && binary.BigEndian.Uint16(b) == t.id) {
			err = &lostError{fmt.Errorf("%w (%d bytes of a frame came: %w)", err, len(b), ErrCorrupt)}
			p.finish(t, nil, err)
			p.end(err)
			return
		}
		p.owed.forgo(t.id)
		if t.want.mute {
			err = nil
		}
		p.finish(t, nil, err)
	}
}

// take hands out the complete frames that have come; the caller reads.
func (p *Pipe) take() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := 0
	p.heard = time.Now()
	for {
		frame, err := splitTCP(p.rx.bytes()[at:])
		if err != nil {
			return &lostError{fmt.Errorf("%w: %w", ErrCorrupt, err)}
		}
		if frame == nil {
			break
		}
		at += len(frame)
		id := binary.BigEndian.Uint16(frame)
		t := p.sent(id)
		if t == nil {
			if !p.owed.settle(id) {
				return &lostError{fmt.Errorf("%w: transaction %d, which nobody waits for", ErrMismatch, id)}
			}
			continue
		}
		body := slices.Clone(frame[6:])
		if err := t.want.judge(body); err != nil {
			p.finish(t, nil, err)
			if LinkLost(err) {
				return err
			}
			continue
		}
		p.finish(t, body, nil)
	}
	if at > 0 || p.began.IsZero() {
		p.began = p.heard
		p.rx.consume(at)
	}
	if p.rx.n == 0 {
		p.began = time.Time{}
	}
	return nil
}

// finish ends a transaction, if it is not over yet.
func (p *Pipe) finish(t *turn, body []byte, err error) {
	if t.over {
		return
	}
	p.remove(t)
	t.over, t.body, t.err = true, body, err
	t.done <- struct{}{}
}

func (p *Pipe) remove(t *turn) {
	same := func(o *turn) bool { return o == t }
	if i := slices.IndexFunc(p.waiting, same); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else if i := slices.IndexFunc(p.queue, same); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	}
}

// giveUp ends a transaction whose caller waits no longer; false: it is over already.
func (p *Pipe) giveUp(ctx context.Context, t *turn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.over {
		return false
	}
	p.drop(ctx, t)
	return true
}

func (p *Pipe) drop(ctx context.Context, t *turn) {
	t.err = noAnswer(ctx, 0)
	if slices.Contains(p.queue, t) {
		t.err = notSent(t.err)
	} else {
		p.owed.forgo(t.id)
	}
	p.remove(t)
	t.over, t.body = true, nil
}

// fail ends everything: the connection is of no use any more.
func (p *Pipe) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(err)
}

func (p *Pipe) end(err error) {
	var lost *lostError
	if errors.As(err, &lost) {
		err = lost.err
	}
	if p.lost == nil {
		p.lost = &lostError{err}
	}
	for _, t := range slices.Clone(p.queue) {
		p.finish(t, nil, &lostError{notSent(err)})
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMismatch) {
		err = errors.New(err.Error()) // what one has spoilt is no fault of the others
	}
	for _, t := range slices.Clone(p.waiting) {
		p.finish(t, nil, &lostError{err})
	}
}
