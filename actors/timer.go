package actors

import (
	"sync/atomic"
	"time"
)

// Timer is a ticker or a one-shot timer of one life. It is its own mail, so at most one tick of it
// waits at a time.
type Timer struct {
	life    *life
	msg     any
	req     *Request
	first   time.Duration // its first slot of the grid, on the system's monotonic clock
	slots   *slots        // nil: it fires once, by timer
	timer   *time.Timer
	began   bool        // the first slot of the grid has passed
	pending atomic.Bool // a tick waits in the mailbox
	stopped atomic.Bool
}

// Every delivers msg now and then once per d, on a fixed grid of the monotonic clock that never
// drifts. The phases of the actors' grids are spread over the period, in at most six steps so that
// ticks share wake-ups. A tick that comes while the last one still waits is not delivered but
// counted as missed. The first tick is not on the grid: if it still waits when the first slot
// comes, it counts for that slot, and nothing is missed.
func (c *Context) Every(d time.Duration, msg any) *Timer {
	l := c.l
	t := &Timer{life: l, msg: msg}
	t.pending.Store(true)
	l.cell.post(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.released {
		l.timers.add(t)
		l.cell.sys.grid.join(t, d)
	}
	return t
}

// After delivers msg once, after d. If a request is being served, the message is still part of it.
func (c *Context) After(d time.Duration, msg any) *Timer {
	t := &Timer{life: c.l, msg: msg, req: c.req.hold()}
	t.arm(d)
	return t
}

// Stop ends the timer: none of its messages arrives any more. t may be nil.
func (t *Timer) Stop() {
	if t == nil {
		return
	}
	t.life.mu.Lock()
	defer t.life.mu.Unlock()
	again := t.stopped.Swap(true)
	t.life.timers.remove(t)
	if t.slots != nil {
		t.slots.leave(t)
	}
	if t.timer != nil && t.timer.Stop() && t.req != nil && !again {
		t.life.cell.post(settle{t.life, t.req}) // the message was a continuation of the request
	}
}

// settle ends the continuation of a request by a timer that was stopped.
type settle struct {
	life *life
	req  *Request
}

func (m settle) deliver(l *life) {
	m.req.drop()
	if m.life == l {
		m.req.settle()
	}
}

func (t *Timer) arm(d time.Duration) {
	l := t.life
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released {
		return
	}
	l.timers.add(t)
	t.timer = time.AfterFunc(d, t.fire)
}

// deliver implements mail.
func (t *Timer) deliver(l *life) {
	t.pending.Store(false)
	t.req.drop()
	switch {
	case t.life != l:
	case !t.stopped.Load():
		l.hand(t.msg, t.req)
	case t.req != nil:
		t.req.settle()
	}
}

func (t *Timer) fire() {
	l := t.life
	if l.over() || t.stopped.Load() && t.req == nil { // a request must be settled: Stop came too late for that
		return
	}
	l.mu.Lock()
	l.timers.remove(t)
	l.mu.Unlock()
	l.cell.post(t)
}

// tick is called for a slot of the grid. missed is the number of slots skipped before it.
func (t *Timer) tick(missed uint64) {
	l := t.life
	if t.stopped.Load() || l.over() {
		return
	}
	l.cell.missed.Add(missed)
	began := t.began
	t.began = true
	if t.pending.Swap(true) {
		if began {
			l.cell.missed.Add(1)
		}
		return
	}
	l.cell.post(t)
}

// stopTimers ends all timers of the life. Any goroutine may call it.
func (l *life) stopTimers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.timers {
		t.stopped.Store(true)
		if t.slots != nil {
			t.slots.leave(t)
		} else {
			t.timer.Stop()
		}
	}
	l.timers = nil
}
