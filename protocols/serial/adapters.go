package serial

import "sync"

// Adapters remembers which USB adapter was last seen behind each port. An adapter that is to be
// power-cycled may have no port at that moment by which USB could find it. Adapters is safe for
// concurrent use; the zero value is empty.
type Adapters struct {
	mu   sync.Mutex
	seen map[string]USBDevice
}

// See records the adapter behind the port at path, which must exist.
func (a *Adapters) See(path string) {
	d, ok := USB("/sys", path)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !ok {
		delete(a.seen, path)
		return
	}
	if a.seen == nil {
		a.seen = map[string]USBDevice{}
	}
	a.seen[path] = d
}

// Behind returns the adapter behind the port at path, or the one last seen there.
func (a *Adapters) Behind(path string) (USBDevice, bool) {
	if d, ok := USB("/sys", path); ok {
		return d, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d, ok := a.seen[path]
	return d, ok
}
