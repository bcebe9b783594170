package actors

import (
	"sync"
	"time"
)

// crew runs functions in the order they came, side by side, in goroutines that
// stay for a while: a stack that has grown once need not grow anew for every
// message and every transaction, and a burst of short ones takes few of them.
// Whatever a function does, the next one does not wait for it: while any waits,
// a goroutine is on its way to it. It is the dispatcher of all mailboxes.
type crew struct {
	mu     sync.Mutex
	queue  fifo            // of func()
	coming bool            // one has been called that has not come to the queue yet
	idle   []chan struct{} // the last to become idle is called first
	spare  int             // how many were idle all the time since the last look
	timer  *time.Timer     // of the next look
	armed  bool
}

// idleTime is how often the crew looks who is idle; who was all the time ends.
const idleTime = 200 * time.Millisecond

// crewKept is for how many functions the crew, of which there is one, keeps the
// room: hundreds of actors tick at the same moment.
const crewKept = 1024

// throughput is how many messages a mailbox handles before others get a turn.
const throughput = 300

// Throughput implements actor.Dispatcher.
func (w *crew) Throughput() int { return throughput }

// Schedule implements actor.Dispatcher. It does not wait for fn.
func (w *crew) Schedule(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue.push(fn)
	w.call()
}

// call has one come to the queue if none is on its way. The caller holds the lock.
func (w *crew) call() {
	if w.coming {
		return
	}
	w.coming = true
	n := len(w.idle) - 1
	if n < 0 {
		go w.work()
		return
	}
	w.idle[n] <- struct{}{}
	w.idle = w.idle[:n]
	w.spare = min(w.spare, n)
}

func (w *crew) work() {
	called := make(chan struct{}, 1)
	for ok := true; ok; _, ok = <-called {
		w.mu.Lock()
		w.coming = false
		for fn, ok := w.queue.pop(crewKept).(func()); ok; fn, ok = w.queue.pop(crewKept).(func()) {
			if !w.queue.empty() {
				w.call()
			}
			w.mu.Unlock()
			fn()
			w.mu.Lock()
		}
		w.rest(called)
		w.mu.Unlock()
	}
}

// rest waits to be called. The caller holds the lock.
func (w *crew) rest(called chan struct{}) {
	w.idle = append(w.idle, called)
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
	for _, called := range w.idle[:w.spare] {
		close(called)
	}
	kept := copy(w.idle, w.idle[w.spare:])
	clear(w.idle[kept:])
	w.idle, w.spare = w.idle[:kept], kept
	if w.armed = kept > 0; w.armed {
		w.timer.Reset(idleTime)
	}
}
