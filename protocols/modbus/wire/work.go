package wire

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// Work is a few transactions that go out one after the other.
type Work struct {
	// Lost is why the connection or port must be replaced; nil: it is fine.
	Lost error

	parts []*part
	ran   int
	busy  time.Duration
	air   func(r modbus.Request) time.Duration
	hurry atomic.Bool // something urgent waits: no further transaction
}

// fallback is what a request without timeout waits.
const fallback = time.Second

// Limit is the longest that Run takes when everything goes by the book.
func (w *Work) Limit() time.Duration {
	d := time.Second
	for _, p := range w.parts {
		t := fallback
		if ts := p.ask().Timeouts; len(ts) > 0 {
			t = ts[len(ts)-1]
		}
		d += 3 * (t + w.onWire(p.request())) // before, while and after it is sent
	}
	return d
}

// Transactor carries transactions: a *modbus.Link, or a *modbus.Pipe for more
// than one Work at a time.
type Transactor interface {
	Do(ctx context.Context, r modbus.Request) (modbus.Response, error)
}

// Run carries the transactions out, in a worker. It ends early when the link is
// lost, a unit does not answer or something urgent has come.
func (w *Work) Run(ctx context.Context, l Transactor) {
	begin := time.Now()
	if l, ok := l.(*modbus.Link); ok && len(w.parts) > 1 {
		defer l.Within(ctx)()
	}
	for i, p := range w.parts {
		if i > 0 && (w.hurry.Load() || p.late()) || !p.run(ctx, l, w) {
			break
		}
	}
	w.busy = time.Since(begin)
}

// late says whether somebody has waited for too long for this to be sent.
func (p *part) late() bool {
	ask := p.ask()
	return ask.Class <= schedule.Interactive && !ask.Expires.IsZero() && !time.Now().Before(ask.Expires)
}

// run reports whether the next one may go.
func (p *part) run(ctx context.Context, l Transactor, w *Work) bool {
	r := p.request()
	limit, ok := p.job.timeout()
	if !ok {
		return false // the Carrier gives it up
	}
	r.Timeout = limit
	begin := time.Now()
	resp, err := l.Do(ctx, r)
	end := time.Now()
	if r.Write() && !modbus.NotSent(err) {
		p.job.answer.Tap.Wrote(r.Unit) // before anybody hears of it
	}
	p.busy = end.Sub(begin)
	*p.res = Result{Response: resp, Err: err, Outcome: outcome(err), Took: max(0, end.Sub(begin)-w.onWire(r)), At: end}
	w.ran++
	if modbus.LinkLost(err) {
		w.Lost = err
	}
	switch p.res.Outcome {
	case schedule.Answered, schedule.Exception:
		p.job.silent.Store(0)
	case schedule.NoAnswer, schedule.Garbled:
		p.job.silent.Add(1)
		return false
	}
	return w.Lost == nil && ctx.Err() == nil
}

func (w *Work) onWire(r modbus.Request) time.Duration {
	if w.air == nil {
		return 0
	}
	return w.air(r)
}

// Answered says whether a unit has answered in this Work, if only to refuse.
func (w *Work) Answered() bool {
	for _, p := range w.parts[:w.ran] {
		if p.res.Outcome == schedule.Answered || p.res.Outcome == schedule.Exception {
			return true
		}
	}
	return false
}

// Spoilt says whether the connection must be replaced because of an answer that
// nobody can read: whoever gave it is there, and so is the way to others.
func (w *Work) Spoilt() bool {
	return w.Lost != nil && !modbus.NotSent(w.Lost) && w.ran > 0 && w.parts[w.ran-1].res.Outcome == schedule.Garbled
}

func mismatched(err error) bool { return errors.Is(err, modbus.ErrMismatch) }
