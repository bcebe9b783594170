package actors

import (
	"context"
	"fmt"
	"io"
	"time"

	"gatewayd/bus"
)

// grace is the time a worker has to return after its context has ended. Then what the life owns is
// closed, and after the same time once more the worker is left behind.
const grace = time.Second

// Do runs fn, which may block, outside the mailbox. Its result arrives as a message; its error, a
// panic or a missed deadline arrive as Failed. If a request is being served, the result is still
// part of it. A result that is an io.Closer is owned by the life; a result returned beside an error
// is dropped.
//
// After the deadline ctx is cancelled, then what the life owns is closed. A worker that does not
// return even then is left behind, and this life fails as Wedged.
func (c *Context) Do(deadline time.Duration, fn func(ctx context.Context) (any, error)) {
	l := c.l
	if l.over() {
		return
	}
	w := &worker{life: l, fn: fn, limit: deadline, deadline: time.Now().Add(deadline), result: later{life: l, req: c.req.hold()}}
	w.next = w.deadline
	l.mu.Lock()
	l.work.add(w)
	if l.released {
		w.cancel(context.Canceled)
	}
	l.mu.Unlock()
	l.cell.sys.watch.add(w)
	l.cell.sys.workers.Add(1)
	l.cell.sys.dispatcher.Schedule(w.run)
}

func (w *worker) run() {
	l := w.life
	defer l.cell.sys.workers.Add(-1)
	v, err := guarded(w, w.fn)
	l.cell.sys.watch.remove(w)
	l.mu.Lock()
	mine := l.work.remove(w)
	late := w.err == context.DeadlineExceeded || w.err == nil && !time.Now().Before(w.deadline)
	w.cancel(context.Canceled)
	l.mu.Unlock()
	if x, ok := v.(io.Closer); ok && err == nil {
		l.own(x)
	}
	if !mine { // the worker was left behind
		return
	}
	if err != nil {
		if late {
			err = bus.Errorf(bus.DeadlineExceeded, "not finished within %s: %s", w.limit, err)
		}
		v = Failed{Err: err}
	}
	w.result.msg = v
	l.cell.post(&w.result)
}

func guarded(ctx context.Context, fn func(context.Context) (any, error)) (v any, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, fmt.Errorf("panic in a worker: %v", p)
		}
	}()
	return fn(ctx)
}

// hurry takes the next step against a worker that has not returned in time.
func (w *worker) hurry() {
	l := w.life
	l.mu.Lock()
	if !l.work.has(w) {
		l.mu.Unlock()
		return
	}
	w.stage++
	switch w.stage {
	case canceled:
		w.cancel(context.DeadlineExceeded)
	case closed:
	default:
		l.work.remove(w)
	}
	stage := w.stage
	l.mu.Unlock()
	switch stage {
	case canceled:
	case closed:
		l.closeOwned()
	default:
		l.cell.sys.watch.remove(w)
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
	for _, x := range owned {
		_ = x.Close()
	}
}

type stuck struct {
	life *life
	w    *worker
}

func (m *stuck) deliver(l *life) {
	m.w.result.req.drop()
	if m.life == l {
		l.guard(m.w.result.req, func() error {
			return Wedged(fmt.Errorf("a worker did not return %s after its deadline of %s", 2*grace, m.w.limit))
		})
	}
}
