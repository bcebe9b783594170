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
	all  bag[*Request]
}

// enter is false when no life will come for r.
func (q *queue) enter(r *Request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shut {
		return false
	}
	q.all.add(r)
	return true
}

func (q *queue) leave(r *Request) {
	q.mu.Lock()
	q.all.remove(r)
	q.mu.Unlock()
}

// empty tells all that wait why nothing comes of it, and shuts the queue or
// opens it anew.
func (q *queue) empty(shut bool, path, why string) {
	q.mu.Lock()
	all := q.all
	q.all, q.shut = nil, shut
	q.mu.Unlock()
	for _, r := range all {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s: %s", path, why))
	}
}
