package share

import "sync"

// maxTold is the number of keys that a Digest distinguishes.
const maxTold = 256

// Digest collects what may occur too often to be reported each time: for each key the last value
// and their number. It is safe for concurrent use.
type Digest[K comparable, V any] struct {
	mu    sync.Mutex
	awake bool // Take will be called
	told  map[K]*Collected[V]
}

// Collected is what was collected for a key.
type Collected[V any] struct {
	Last  V
	Count int
}

// Add adds a value. wake tells the caller to arrange for a call of Take, because none is pending.
// Values beyond the number of distinguished keys count for the zero key.
func (d *Digest[K, V]) Add(k K, v V) (wake bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.told == nil {
		d.told = map[K]*Collected[V]{}
	}
	t := d.told[k]
	if t == nil {
		if len(d.told) >= maxTold {
			var others K
			k = others
		}
		if t = d.told[k]; t == nil {
			t = &Collected[V]{}
			d.told[k] = t
		}
	}
	t.Last = v
	t.Count++
	wake = !d.awake
	d.awake = true
	return wake
}

// Take returns what was collected. If that is nothing, the next Add reports wake; the same holds
// after Asleep.
func (d *Digest[K, V]) Take() map[K]*Collected[V] {
	d.mu.Lock()
	defer d.mu.Unlock()
	told := d.told
	d.told, d.awake = nil, len(told) > 0
	return told
}

// Asleep reports that no call of Take could be arranged.
func (d *Digest[K, V]) Asleep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awake = false
}
