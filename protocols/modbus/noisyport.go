package modbus

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Port is the Conn of a serial line. Discard throws away what has been received
// and not read.
type Port interface {
	Conn
	Discard() error
}

// NoisyPort is a port on which a fault drill can flip bits of what is received.
type NoisyPort struct {
	Use sync.Mutex // held by the worker that uses the port
	Port
	rate atomic.Uint64 // bits of a float64
}

// Corrupt sets the share of bytes, 0 to 1, in which a bit is flipped. It is safe for concurrent
// use.
func (n *NoisyPort) Corrupt(rate float64) { n.rate.Store(math.Float64bits(rate)) }

// Read implements io.Reader.
func (n *NoisyPort) Read(b []byte) (int, error) {
	got, err := n.Port.Read(b)
	if rate := math.Float64frombits(n.rate.Load()); rate > 0 {
		for i := range b[:got] {
			if rand.Float64() < rate {
				b[i] ^= 1 << rand.IntN(8)
			}
		}
	}
	return got, err
}
