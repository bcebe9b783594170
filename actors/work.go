package actors

import (
	"context"
	"fmt"
	"io"
	"math"
	"sync/atomic"
	"time"

	"gatewayd/bus"
)

// grace is how long a worker may take to notice that its context has ended,
// before what the life owns is closed under it, and then once more before it is
// left behind.
const grace = time.Second

// Do runs fn, which may block, outside the mailbox. Its result comes back as a
// message; its error, a panic, or a missed deadline come back as Failed. If a
// request is being served, the result is still part of it. A result that is an
// io.Closer is owned by the life.
//
// Past the deadline ctx is cancelled, then what the life owns is closed. A
// worker that even then does not return is left behind and this life fails as
// Wedged.
func (c *Context) Do(deadline time.Duration, fn func(ctx context.Context) (any, error)) {
	l := c.l
	if l.over() {
		return
	}
	ctx, cancel := context.WithTimeout(l.context(), deadline)
	w := &worker{life: l, req: c.req.hold(), cancel: cancel, limit: deadline}
	w.late = time.AfterFunc(math.MaxInt64, w.overdue)
	w.late.Reset(deadline + grace) // only now: overdue reads w.late
	l.cell.sys.workers.Add(1)
	l.cell.sys.crew.Schedule(func() { w.run(ctx, fn) })
}

// context ends with the life.
func (l *life) context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancel(context.Background())
		if l.released {
			l.cancel()
		}
	}
	return l.ctx
}

type worker struct {
	life   *life
	req    *Request
	cancel context.CancelFunc
	limit  time.Duration
	late   *time.Timer
	stage  atomic.Int32 // 0 running, 1 returned, 2 left behind
	warned atomic.Bool
}

func (w *worker) run(ctx context.Context, fn func(context.Context) (any, error)) {
	l := w.life
	defer l.cell.sys.workers.Add(-1)
	v, err := guarded(ctx, fn)
	w.cancel()
	if x, ok := v.(io.Closer); ok {
		l.own(x)
	}
	if !w.stage.CompareAndSwap(0, 1) {
		return
	}
	w.late.Stop()
	if err != nil {
		if ctxErr := context.Cause(ctx); ctxErr == context.DeadlineExceeded {
			err = bus.Errorf(bus.DeadlineExceeded, "not done within %s: %s", w.limit, err)
		}
		v = Failed{Err: err}
	}
	l.cell.post(&later{life: l, msg: v, req: w.req})
}

func guarded(ctx context.Context, fn func(context.Context) (any, error)) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("panic in a worker: %v", p)
		}
	}()
	return fn(ctx)
}

// overdue runs when the worker has not returned in time, at most twice.
func (w *worker) overdue() {
	l := w.life
	if w.warned.CompareAndSwap(false, true) {
		if w.stage.Load() == 0 {
			w.late.Reset(grace)
			l.closeOwned()
		}
		return
	}
	if w.stage.CompareAndSwap(0, 2) {
		l.cell.left.Add(1)
		l.cell.post(&stuck{l, w})
	}
}

// closeOwned closes what a stuck worker may be blocked in.
func (l *life) closeOwned() {
	l.mu.Lock()
	owned := l.owned
	l.owned = nil
	l.mu.Unlock()
	for x := range owned {
		_ = x.Close()
	}
}

type stuck struct {
	life *life
	w    *worker
}

func (m *stuck) deliver(l *life) {
	m.w.req.drop()
	if m.life == l {
		l.guard(m.w.req, func() error {
			return Wedged(fmt.Errorf("a worker did not return %s after its deadline of %s", 2*grace, m.w.limit))
		})
	}
}
