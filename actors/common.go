package actors

import (
	"runtime"
	"sync"
	"weak"
)

// Common is values that actors of one kind have in common, by what they are made
// from: a hundred actors of equal config hold one. It forgets a value that nobody
// holds any more. Actors run side by side: nobody changes a value. The zero Common
// is empty.
type Common[K comparable, V any] struct {
	mu  sync.Mutex
	all map[K]weak.Pointer[V]
}

// Get finds a value made from key that fits, or makes it.
func (c *Common[K, V]) Get(key K, fits func(*V) bool, make func() (*V, error)) (*V, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.all[key].Value(); v != nil && fits(v) {
		return v, nil
	}
	v, err := make()
	if err != nil {
		return nil, err
	}
	if c.all == nil {
		c.all = map[K]weak.Pointer[V]{}
	}
	c.all[key] = weak.Make(v)
	runtime.AddCleanup(v, c.forget, key)
	return v, nil
}

func (c *Common[K, V]) forget(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all[key].Value() == nil {
		delete(c.all, key)
	}
}

// Spares is values that actors of one kind need for a moment only. The zero
// Spares is empty.
type Spares[V any] struct{ pool sync.Pool }

// Take is a value as it was given back, or a new one.
func (s *Spares[V]) Take() *V {
	if v, ok := s.pool.Get().(*V); ok {
		return v
	}
	return new(V)
}

// Give gives a value back; who gives it holds it no more.
func (s *Spares[V]) Give(v *V) { s.pool.Put(v) }
