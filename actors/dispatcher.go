package actors

import (
	"sync"
	"time"
)

// dispatcher runs functions concurrently, started in the order they came. Its goroutines stay for a
// while, so that their stacks need not grow anew for every message and every transaction, and a
// burst of short functions takes few of them. No function waits for another one to return: while
// any is waiting, a goroutine is being woken or started for it. It is the dispatcher of all
// mailboxes.
type dispatcher struct {
	mu     sync.Mutex
	queue  fifo            // of func()
	coming bool            // a goroutine has been called and has not reached the queue yet
	idle   []chan struct{} // the last to become idle is called first
	spare  int             // goroutines that have been idle since the last look
	timer  *time.Timer     // for the next look
	armed  bool
}

// idleTime is the interval of look. A goroutine that is idle for a whole interval ends.
const idleTime = 200 * time.Millisecond

// queueCapacity is the number of functions for which the queue keeps room. It is large because
// hundreds of actors tick at the same moment, and there is only one dispatcher.
const queueCapacity = 1024

// throughput is how many messages a mailbox handles before others get a turn.
const throughput = 300

// Throughput implements actor.Dispatcher.
func (w *dispatcher) Throughput() int { return throughput }

// Schedule implements actor.Dispatcher. It does not wait for fn.
func (w *dispatcher) Schedule(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue.push(fn)
	w.call()
}

// call makes one goroutine come to the queue unless one is on its way. The caller holds the lock.
func (w *dispatcher) call() {
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

func (w *dispatcher) work() {
	called := make(chan struct{}, 1)
	for ok := true; ok; _, ok = <-called {
		w.mu.Lock()
		w.coming = false
		for fn, ok := w.queue.pop(queueCapacity).(func()); ok; fn, ok = w.queue.pop(queueCapacity).(func()) {
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

// rest makes the goroutine wait for a call. The caller holds the lock.
func (w *dispatcher) rest(called chan struct{}) {
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

// look ends the goroutines that have not been needed since the last look.
func (w *dispatcher) look() {
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
