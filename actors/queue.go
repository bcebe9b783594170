package actors

import (
	"sync"

	"gatewayd/bus"
)

// queue knows the requests that were let in and have not reached a life yet.
// protoactor drops what waits for an actor that stops without telling anybody;
// here they are told.
type queue struct {
	mu   sync.Mutex
	shut bool
	all  map[*Request]struct{}
}

// enter is false when no life will come for r.
func (q *queue) enter(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return false
	}
	if q.all == nil {
		q.all = map[*Request]struct{}{}
	}
	q.all[r] = struct{}{}
	return true
}

func (q *queue) leave(r *Request) {
	q.mu.Lock()
	delete(q.all, r)
	q.mu.Unlock()
}

// empty tells all that wait why nothing comes of it, and shuts the queue or
// opens it anew.
func (q *queue) empty(shut bool, path, why string) {
	q.mu.Lock()
	all := q.all
	q.all, q.shut = nil, shut
	q.mu.Unlock()
	for r := range all {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s: %s", path, why))
	}
}
