package actors

import (
	"sync"
	"time"
)

// watch supervises the deadlines of the workers of all lives. They share a timer, which is set for
// the first deadline of those that are running, and not for workers that have returned.
type watch struct {
	mu    sync.Mutex
	all   []*worker
	timer *time.Timer
	at    time.Time // when it fires; zero: it is not set
}

func (w *watch) add(x *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.place = len(w.all)
	w.all = append(w.all, x)
	w.look(x.next)
}

func (w *watch) remove(x *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.place < 0 {
		return
	}
	end := len(w.all) - 1
	w.all[x.place], w.all[end].place = w.all[end], x.place
	w.all[end] = nil
	w.all, x.place = w.all[:end], -1
}

// look makes the timer fire at the given time, unless it does so earlier. The caller holds the
// lock.
func (w *watch) look(at time.Time) {
	if !w.at.IsZero() && !at.Before(w.at) {
		return
	}
	w.at = at
	if w.timer == nil {
		w.timer = time.AfterFunc(time.Until(at), w.hurry)
		return
	}
	w.timer.Reset(time.Until(at))
}

// hurry takes the next step against each worker that has not returned in time.
func (w *watch) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.at = time.Time{}
	for _, x := range w.all {
		if !now.Before(x.next) {
			x.next = x.next.Add(grace)
			go x.hurry() // closing may get stuck as well
		}
		w.look(x.next)
	}
}
