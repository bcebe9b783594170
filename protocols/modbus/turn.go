package modbus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// turn is one transaction of a Pipe.
type turn struct {
	request  Request
	want     want
	id       uint16
	deadline time.Time
	over     bool
	body     []byte // the answer, from the unit on; nil: none was due
	err      error
	done     chan struct{} // gets a token when the turn is over, unless its caller has given it up
}

// read reads for all waiting callers until t is over.
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

// ready ends the transactions that are past their deadline and reports whether to keep reading for
// t.
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
	if ctx.Err() != nil { // the end of ctx may have set the deadline just before
		_ = p.conn.SetReadDeadline(now)
	}
	return true
}

// expire ends the transactions that are past their deadline. It is called by the reader.
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
			p.rx.tell(Short)
			err = &lostError{fmt.Errorf("%w (%d bytes of a frame came: %w)", err, len(b), ErrCorrupt)}
			p.finish(t, nil, err)
			p.end(err)
			return
		}
		p.owed.forgo(t.id)
		if t.want.mute {
			err = nil
		} else {
			p.opts.Tap.happened(now, Silent, t.request.Unit, t.request.Function)
		}
		p.finish(t, nil, err)
	}
}

// take hands out the complete frames received. It is called by the reader.
func (p *Pipe) take() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := 0
	p.heard = time.Now()
	for {
		frame, err := splitTCP(p.rx.bytes()[at:])
		if err != nil {
			p.opts.Tap.came(p.heard, Noise, p.rx.bytes()[at:])
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
				p.opts.Tap.came(p.heard, Stray, frame)
				return &lostError{fmt.Errorf("%w: transaction %d is not outstanding", ErrMismatch, id)}
			}
			p.opts.Tap.came(p.heard, Late, frame)
			continue
		}
		body := slices.Clone(frame[6:])
		err = t.want.judge(body)
		p.opts.Tap.came(p.heard, judged(err), frame)
		if err != nil {
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

// finish ends a transaction if it is not over yet.
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

// giveUp ends a transaction whose caller no longer waits. It returns false if the transaction is
// already over.
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
		p.opts.Tap.happened(time.Now(), Silent, t.request.Unit, t.request.Function)
	}
	p.remove(t)
	t.over, t.body = true, nil
}

// fail ends all transactions: the connection can no longer be used.
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
		p.opts.Tap.happened(time.Now(), Lost, 0, 0)
	}
	for _, t := range slices.Clone(p.queue) {
		p.finish(t, nil, &lostError{notSent(err)})
	}
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrMismatch) {
		err = errors.New(err.Error()) // a fault in one transaction's answer is not the fault of the others
	}
	for _, t := range slices.Clone(p.waiting) {
		p.finish(t, nil, &lostError{err})
	}
}
