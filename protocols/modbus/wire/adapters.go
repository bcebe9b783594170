package wire

import (
	"sync"

	"gatewayd/protocols/serial"
)

// Adapters remembers which USB adapter was last seen behind each port: when one
// is to be switched off because it is stuck, or on again, its port may not be
// there to tell. It may be used by any goroutine.
type Adapters struct {
	mu   sync.Mutex
	seen map[string]serial.USBDevice
}

// See looks for the adapter behind a port that is there.
func (a *Adapters) See(path string) {
	d, ok := serial.USB("/sys", path)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !ok {
		delete(a.seen, path)
		return
	}
	if a.seen == nil {
		a.seen = map[string]serial.USBDevice{}
	}
	a.seen[path] = d
}

// Behind is the adapter behind a port, as it is or else as it was last seen.
func (a *Adapters) Behind(path string) (serial.USBDevice, bool) {
	if d, ok := serial.USB("/sys", path); ok {
		return d, true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d, ok := a.seen[path]
	return d, ok
}
