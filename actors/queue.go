package actors

import (
	"sync"

	"gatewayd/bus"
)

// queue holds the requests that were admitted and have not reached a life yet. If an actor stops,
// protoactor drops its waiting messages silently; the queue answers these requests.
type queue struct {
	mu   sync.Mutex
	shut bool
	all  bag[*Request]
}

// enter returns false if no life will handle r.
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

// empty answers all waiting requests with an error, and closes the queue or opens it again.
func (q *queue) empty(shut bool, path, why string) {
	q.mu.Lock()
	all := q.all
	q.all, q.shut = nil, shut
	q.mu.Unlock()
	for _, r := range all {
		r.finish(nil, bus.Errorf(bus.Unavailable, "%s: %s", path, why))
	}
}
