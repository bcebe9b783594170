package actors

import (
	"hash/fnv"
	"sync/atomic"
	"time"
)

// Timer is a tick or an alarm of one life.
type Timer struct {
	life    *life
	msg     any
	req     *Request
	every   time.Duration // 0: once
	next    time.Duration // on the system's monotonic clock
	timer   *time.Timer
	began   bool        // the first slot of the grid has been
	pending atomic.Bool // a tick waits in the mailbox
	stopped atomic.Bool
}

// Every delivers msg now and then once per d, on a fixed grid of the monotonic
// clock that never drifts. The grid's phase is spread over the actors, in at
// most twenty slots per period so that ticks share wake-ups. A tick that comes
// while the last one still waits is not delivered but counted as missed. The
// first one is none of the grid's: if it still waits when the first slot comes,
// it is delivered for that slot, and nothing is missed.
func (c *Context) Every(d time.Duration, msg any) *Timer {
	t := &Timer{life: c.l, msg: msg, every: d}
	now := time.Since(c.l.cell.sys.epoch)
	t.next = now - now%d + phase(c.l.cell.path, d)
	if t.next <= now {
		t.next += d
	}
	t.pending.Store(true)
	c.l.cell.post(&later{life: c.l, msg: msg, tick: t})
	t.arm(t.next - now)
	return t
}

// After delivers msg once, after d. If a request is being served, the message
// is still part of it.
func (c *Context) After(d time.Duration, msg any) *Timer {
	t := &Timer{life: c.l, msg: msg, req: c.req.hold()}
	t.arm(d)
	return t
}

// Stop ends the timer: none of its messages arrives any more. It may be called
// on nil.
func (t *Timer) Stop() {
	if t == nil {
		return
	}
	t.life.mu.Lock()
	defer t.life.mu.Unlock()
	again := t.stopped.Swap(true)
	t.life.timers.remove(t)
	if t.timer != nil && t.timer.Stop() && t.req != nil && !again {
		t.life.cell.post(settle{t.life, t.req}) // this was its continuation
	}
}

// settle ends a continuation that was called off.
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

func phase(path string, d time.Duration) time.Duration {
	slot := max(d/20, time.Millisecond)
	h := fnv.New32a()
	_, _ = h.Write([]byte(path))
	return time.Duration(h.Sum32()) % max(d/slot, 1) * slot
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

func (t *Timer) fire() {
	l := t.life
	if t.stopped.Load() || l.over() {
		return
	}
	if t.every == 0 {
		l.mu.Lock()
		l.timers.remove(t)
		l.mu.Unlock()
		l.cell.post(&later{life: l, msg: t.msg, req: t.req, tick: t})
		return
	}
	now := time.Since(l.cell.sys.epoch)
	for t.next += t.every; t.next <= now; t.next += t.every {
		l.cell.missed.Add(1)
	}
	began := t.began
	t.began = true
	l.mu.Lock() // orders this with arm
	t.timer.Reset(t.next - now)
	l.mu.Unlock()
	if t.stopped.Load() {
		t.timer.Stop()
		return
	}
	if t.pending.Swap(true) {
		if began {
			l.cell.missed.Add(1)
		}
		return
	}
	l.cell.post(&later{life: l, msg: t.msg, tick: t})
}

// stopTimers ends all timers of the life. Any goroutine.
func (l *life) stopTimers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.timers {
		t.stopped.Store(true)
		t.timer.Stop()
	}
	l.timers = nil
}
