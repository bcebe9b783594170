package actors

import (
	"sync"
	"time"
)

// crew runs functions side by side, in goroutines that stay for a while: a stack
// that has grown once need not grow anew for every message and every transaction.
// It has no bound, for a function may hang. It is the dispatcher of all mailboxes.
type crew struct {
	mu    sync.Mutex
	idle  []chan func() // the last to become idle is the first to work
	spare int           // how many were idle all the time since the last look
	timer *time.Timer   // of the next look
	armed bool
}

// idleTime is how often the crew looks who is idle, and how long that takes at least.
const idleTime = 200 * time.Millisecond

// throughput is how many messages a mailbox handles before others get a turn.
const throughput = 300

// Throughput implements actor.Dispatcher.
func (w *crew) Throughput() int { return throughput }

// Schedule implements actor.Dispatcher. It does not wait for fn.
func (w *crew) Schedule(fn func()) {
	w.mu.Lock()
	n := len(w.idle) - 1
	if n < 0 {
		w.mu.Unlock()
		go w.work(fn)
		return
	}
	hand := w.idle[n]
	w.idle = w.idle[:n]
	w.spare = min(w.spare, n)
	w.mu.Unlock()
	hand <- fn
}

func (w *crew) work(fn func()) {
	hand := make(chan func(), 1)
	for ; fn != nil; fn = <-hand {
		fn()
		w.rest(hand)
	}
}

func (w *crew) rest(hand chan func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle = append(w.idle, hand)
	if w.armed {
		return
	}
	w.armed, w.spare = true, 0
	if w.timer == nil {
		w.timer = time.AfterFunc(idleTime, w.look)
		return
	}
	w.timer.Reset(idleTime)
}

// look sends home who has not been needed since the last look.
func (w *crew) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, hand := range w.idle[:w.spare] {
		close(hand)
	}
	kept := copy(w.idle, w.idle[w.spare:])
	clear(w.idle[kept:])
	w.idle, w.spare = w.idle[:kept], kept
	if w.armed = kept > 0; w.armed {
		w.timer.Reset(idleTime)
	}
}
