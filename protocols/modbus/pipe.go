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

// Pipe carries many concurrent transactions over one Modbus TCP connection, each with its own
// deadline. Their answers may arrive in any order. Do may be called by any number of goroutines,
// each of which has a request under way; limiting their number is up to the callers. The Pipe has
// no goroutine of its own, except while a write blocks: one of the waiting callers reads for all of
// them. The Pipe never closes, reopens or repeats anything.
type Pipe struct {
	conn Conn
	opts Options
	rx   *input
	lead chan struct{} // holds a token while nobody reads; the holder of the token owns rx and began

	began time.Time // when the incomplete frame in rx began
	out   []byte    // belongs to the writer
	limit time.Time // the latest deadline of the requests in out; belongs to the writer

	mu      sync.Mutex
	queue   []*turn // not yet sent
	waiting []*turn // sent
	free    []*turn
	writing bool
	reading bool
	until   time.Time // the read deadline
	heard   time.Time // when data last arrived
	last    uint16    // last transaction id used
	owed    owed
	lost    error
}

// NewPipe returns a Pipe over an open connection. It does no I/O.
func NewPipe(conn Conn, opts Options) *Pipe {
	opts, _ = opts.complete(TCP)
	p := &Pipe{conn: conn, opts: opts, rx: newInput(conn, rawOf(conn), opts.Tap), lead: make(chan struct{}, 1)}
	p.lead <- struct{}{}
	opts.Tap.opened(TCP)
	return p
}

// Do sends r once and waits for its answer. It returns within the request's timeout or as soon as
// ctx ends. Its errors are those of Link.Do. An error that costs the connection ends all
// transactions under way.
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
		runtime.Gosched() // lets other callers that are about to send join the batch
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

// look checks, before a request is sent, whether the peer has closed the connection, so that the
// request is known not to be sent. A caller that is already reading notices that anyway.
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
	return nil // enter reports a lost connection
}

// enter adds a transaction to the queue. writer says that the caller must write out the queue.
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
		_ = p.conn.SetReadDeadline(t.deadline) // an error is seen by the reader
	}
	writer = !p.writing
	p.writing = true
	return t, writer, nil
}

// batches is the number of batches a caller writes, for itself and others, before it looks for its
// own answer.
const batches = 16

// flush writes the queue until it is empty. What cannot be written at once is written by a
// goroutine, so that no caller waits longer than its own deadline while the peer accepts nothing.
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

// push writes the rest of a batch of which n bytes are written, and then the batches that have been
// queued since.
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

// batch moves the queue into out. It returns false if there is nothing to write; the caller is then
// no longer the writer.
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

// newID returns an id that is used by no transaction under way or still outstanding.
func (p *Pipe) newID() uint16 {
	for {
		p.last++
		if p.sent(p.last) == nil && !slices.Contains(p.owed.transactions, p.last) {
			return p.last
		}
	}
}

// cut ends a connection that accepted only n bytes of out. Requests of which no byte was accepted
// were not sent.
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

// sent returns the transaction with the id, or nil if none is waiting for an answer.
func (p *Pipe) sent(id uint16) *turn {
	for _, t := range p.waiting {
		if t.id == id {
			return t
		}
	}
	return nil
}
