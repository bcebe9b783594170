package actors

import (
	"runtime"
	"sync"
	"weak"
)

// Shared saves memory where many actors of one kind need equal values: they share one by key. A
// value is dropped when nothing refers to it any more. Actors run concurrently, so a value must not
// be changed. The zero Shared is empty and safe for concurrent use.
type Shared[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]weak.Pointer[V]
}

// Get returns the value of key if there is one and fits accepts it; otherwise it makes one. make is
// called with a lock held.
func (s *Shared[K, V]) Get(key K, fits func(*V) bool, make func() (*V, error)) (*V, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.all[key].Value(); v != nil && fits(v) {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return nil, err
	}
	if s.all == nil {
		s.all = map[K]weak.Pointer[V]{}
	}
	s.all[key] = weak.Make(v)
	runtime.AddCleanup(v, s.forget, key)
	return v, nil
}

func (s *Shared[K, V]) forget(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key].Value() == nil {
		delete(s.all, key)
	}
}

// Pool is a typed sync.Pool, for values that actors of one kind need only briefly. The zero Pool is
// empty and safe for concurrent use.
type Pool[V any] struct{ pool sync.Pool }

// Take returns a value in the state in which it was given back, or a new one.
func (p *Pool[V]) Take() *V {
	if v, ok := p.pool.Get().(*V); ok {
		return v
	}
	return new(V)
}

// Give gives a value back; it must not be used afterwards.
func (p *Pool[V]) Give(v *V) { p.pool.Put(v) }
