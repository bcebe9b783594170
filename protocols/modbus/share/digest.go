package share

import "sync"

// mostTold is how many keys a Digest tells apart.
const mostTold = 256

// Digest gathers what may come too often to be told each time: of each key the last one, and how many. Any goroutine may use it.
type Digest[K comparable, V any] struct {
	mu    sync.Mutex
	awake bool // somebody will take
	told  map[K]*Told[V]
}

// Told is what was gathered of a key.
type Told[V any] struct {
	Last  V
	Count int
}

// Add adds one. wake: nobody is about to take yet, call somebody. What exceeds the keys that are told apart counts for the zero key.
func (d *Digest[K, V]) Add(k K, v V) (wake bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told == nil {
		d.told = map[K]*Told[V]{}
	}
	t := d.told[k]
	if t == nil {
		if len(d.told) >= mostTold {
			var others K
			k = others
		}
		if t = d.told[k]; t == nil {
			t = &Told[V]{}
			d.told[k] = t
		}
	}
	t.Last = v
	t.Count++
	wake = !d.awake
	d.awake = true
	return wake
}

// Take takes what was gathered. If it is nothing, whoever adds next is asked to call again; so it is after Asleep.
func (d *Digest[K, V]) Take() map[K]*Told[V] {
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.told
	d.told, d.awake = nil, len(told) > 0
	return told
}

// Asleep says that nobody could be called.
func (d *Digest[K, V]) Asleep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awake = false
}
