package modbus

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Pipe carries many transactions at a time over one Modbus TCP connection, each with its own deadline; their answers may come in any order.
// Do may be called by any number of goroutines, and as many requests are under way: whoever calls it limits that. It has no goroutine of its
// own, unless what is to be written must wait: one of the callers that wait reads for all of them. The Pipe never closes, reopens or repeats
// anything.
type Pipe struct {
	conn Conn
	opts Options
	rx   *input
	lead chan struct{} // holds a token while nobody reads; whoever has it owns rx and began

	began time.Time // when the frame begun in rx did
	out   []byte    // of whoever writes
	limit time.Time // the latest deadline of what is in out; of whoever writes

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

// NewPipe makes a Pipe over an open connection. It does no I/O.
func NewPipe(conn Conn, opts Options) *Pipe {
	opts, _ = opts.complete(TCP)
	p := &Pipe{conn: conn, opts: opts, rx: newInput(conn, rawOf(conn), opts.Tap), lead: make(chan struct{}, 1)}
	p.lead <- struct{}{}
	opts.Tap.opened(TCP)
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

// batches is how many batches a caller writes, for himself and others, before he looks for his own answer.
const batches = 16

// flush writes the queue until it is empty. What cannot be written at once a goroutine writes, so that no caller waits for longer than his
// own deadline while the peer takes nothing.
func (p *Pipe) flush() {
	for range batches {
		if !p.batch() {
			return
		}
		n, err := 0, error(nil)
		if p.rx.raw != nil {
			n, err = p.rx.write(p.out)
		}
		switch {
		case err != nil:
			p.cut(n, fmt.Errorf("write: %w", err))
		case n < len(p.out):
			go p.push(n)
			return
		}
	}
	go p.flush()
}

// push writes a batch of which n bytes are gone, and what has come since.
func (p *Pipe) push(n int) {
	for more := true; more; more = p.batch() {
		err := p.conn.SetWriteDeadline(p.limit)
		if err == nil {
			var m int
			m, err = p.conn.Write(p.out[n:])
			n += m
		}
		if err == nil {
			err = p.conn.SetWriteDeadline(time.Time{})
		}
		if err != nil {
			p.cut(n, fmt.Errorf("write: %w", err))
		}
		n = 0
	}
}

// batch takes what is to be written; false: nothing, and nobody writes any more.
func (p *Pipe) batch() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 || p.lost != nil {
		p.writing = false
		return false
	}
	p.out, p.limit = p.out[:0], time.Time{}
	for _, t := range p.queue {
		t.id = p.newID()
		at := len(p.out)
		p.out = append(p.out, byte(t.id>>8), byte(t.id), 0, 0, 0, 0, t.request.Unit)
		p.out = AppendRequest(p.out, t.request)
		binary.BigEndian.PutUint16(p.out[at+4:], uint16(len(p.out)-at-6))
		p.waiting = append(p.waiting, t)
		if t.deadline.After(p.limit) {
			p.limit = t.deadline
		}
	}
	clear(p.queue)
	p.queue = p.queue[:0]
	p.opts.Tap.sentAll(p.out) // before an answer can be seen
	return true
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
