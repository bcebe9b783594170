package actors

import (
	"context"
	"slices"
	"time"
)

// worker is a function started by Do, and the context it runs with. Fields that change are guarded
// by the life's lock, except those of the watch.
type worker struct {
	life     *life
	fn       func(context.Context) (any, error)
	limit    time.Duration
	deadline time.Time
	result   later

	place int       // used by the watch
	next  time.Time // when the next step is due; used by the watch
	stage stage
	err   error // why the context has ended; nil: it has not
	done  chan struct{}
	after []*after
}

// stage is the last step taken to end a worker.
type stage uint8

const (
	running stage = iota
	canceled
	closed
)

// Deadline implements context.Context.
func (w *worker) Deadline() (time.Time, bool) { return w.deadline, true }

// Done implements context.Context.
func (w *worker) Done() <-chan struct{} {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	if w.done == nil {
		w.done = make(chan struct{})
		if w.err != nil {
			close(w.done)
		}
	}
	return w.done
}

// Err implements context.Context.
func (w *worker) Err() error {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	return w.err
}

// Value implements context.Context.
func (w *worker) Value(any) any { return nil }

// after is a function to call when a worker's context ends.
type after struct {
	w  *worker
	fn func()
}

// AfterFunc is used by package context instead of a waiting goroutine.
func (w *worker) AfterFunc(fn func()) (stop func() bool) {
	w.life.mu.Lock()
	defer w.life.mu.Unlock()
	a := &after{w, fn}
	if w.err != nil {
		go fn()
	} else {
		w.after = append(w.after, a)
	}
	return a.stop
}

// stop returns false if fn is running or has run.
func (a *after) stop() bool {
	a.w.life.mu.Lock()
	defer a.w.life.mu.Unlock()
	i := slices.Index(a.w.after, a)
	if i < 0 {
		return false
	}
	a.w.after = slices.Delete(a.w.after, i, i+1)
	return true
}

// cancel ends the context, once. The caller holds the life's lock.
func (w *worker) cancel(why error) {
	if w.err != nil {
		return
	}
	w.err = why
	if w.done != nil {
		close(w.done)
	}
	for _, a := range w.after {
		go a.fn()
	}
	w.after = nil
}
