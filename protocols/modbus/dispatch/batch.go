package dispatch

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// Batch is a number of transactions that a worker carries out one after the other.
type Batch struct {
	// Lost is why the connection or port must be replaced; nil: it can still be used. It is set by
	// Run.
	Lost error

	parts []*part
	ran   int // number of parts that have been tried
	busy  time.Duration
	air   func(r modbus.Request) time.Duration
	hurry atomic.Bool // something urgent waits: no further transaction is begun
}

// defaultTimeout is assumed for a request that uses the link's own timeout.
const defaultTimeout = time.Second

// Limit returns the longest that Run may take unless the driver or network stack hangs.
func (b *Batch) Limit() time.Duration {
	d := time.Second
	for _, p := range b.parts {
		t := defaultTimeout
		if ts := p.ask().Timeouts; len(ts) > 0 {
			t = ts[len(ts)-1]
		}
		d += 3 * (t + b.onWire(p.request())) // before, while and after it is sent
	}
	return d
}

// Transactor carries out transactions: a *modbus.Link, or a *modbus.Pipe where more than one Batch is under way.
type Transactor interface {
	Do(ctx context.Context, r modbus.Request) (modbus.Response, error)
}

// Run carries out the transactions. It blocks, so it is called by a worker. It ends early if the
// link is lost, a unit does not answer or something urgent waits; Dispatcher.Done deals with the
// rest.
func (b *Batch) Run(ctx context.Context, l Transactor) {
	begin := time.Now()
	if l, ok := l.(*modbus.Link); ok && len(b.parts) > 1 {
		defer l.Within(ctx)()
	}
	for i, p := range b.parts {
		if i > 0 && (b.hurry.Load() || p.late()) || !p.run(ctx, l, b) {
			break
		}
	}
	b.busy = time.Since(begin)
}

// run carries out one transaction and reports whether the next one may follow.
func (p *part) run(ctx context.Context, l Transactor, b *Batch) bool {
	r := p.request()
	limit, ok := p.job.timeout()
	if !ok {
		return false // Dispatcher.Next ends it
	}
	r.Timeout = limit
	begin := time.Now()
	resp, err := l.Do(ctx, r)
	end := time.Now()
	if r.Write() && !modbus.NotSent(err) {
		p.job.answer.Tap.Wrote(r.Unit) // before anybody can see the answer
	}
	p.busy = end.Sub(begin)
	*p.res = Result{Response: resp, Err: err, Outcome: outcome(err), Took: max(0, end.Sub(begin)-b.onWire(r)), At: end}
	b.ran++
	if modbus.LinkLost(err) {
		b.Lost = err
	}
	switch p.res.Outcome {
	case schedule.Answered, schedule.Exception:
		p.job.silent.Store(0)
	case schedule.NoAnswer, schedule.Garbled:
		p.job.silent.Add(1)
		return false
	}
	return b.Lost == nil && ctx.Err() == nil
}

func (b *Batch) onWire(r modbus.Request) time.Duration {
	if b.air == nil {
		return 0
	}
	return b.air(r)
}

// Answered reports whether a unit has answered in this Batch, even if only with an exception.
func (b *Batch) Answered() bool {
	for _, p := range b.parts[:b.ran] {
		if p.res.Outcome == schedule.Answered || p.res.Outcome == schedule.Exception {
			return true
		}
	}
	return false
}

// Spoilt reports whether the connection must be replaced because of an invalid answer. In that case
// the far end is present, and a new connection is likely to succeed at once.
func (b *Batch) Spoilt() bool {
	return b.Lost != nil && !modbus.NotSent(b.Lost) && b.ran > 0 && b.parts[b.ran-1].res.Outcome == schedule.Garbled
}

func mismatched(err error) bool { return errors.Is(err, modbus.ErrMismatch) }
