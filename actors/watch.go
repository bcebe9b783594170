package actors

import (
	"sync"
	"time"
)

// watch looks after the workers of all lives. They share a timer, which goes off
// when the first of those that are under way is due and not when one would have
// been that has returned long ago.
type watch struct {
	mu    sync.Mutex
	all   []*worker
	timer *time.Timer
	at    time.Time // when it goes off; zero: it does not
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

// look has the timer go off at a time, if it does not before. The caller holds
// the lock.
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

// hurry does what is due to the workers that have not returned in time.
func (w *watch) hurry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	w.at = time.Time{}
	for _, x := range w.all {
		if !now.Before(x.next) {
			x.next = x.next.Add(grace)
			go x.hurry() // what it closes may get stuck as well
		}
		w.look(x.next)
	}
}
