package modbus

import (
	"maps"
	"sync"
	"time"
)

// Tap observes the traffic of a line or link across all its successive connections. It keeps the
// latest frames and passes all frames to its listeners. Its methods may be called by any goroutine.
// A nil Tap observes nothing.
type Tap struct {
	mu      sync.Mutex
	framing Framing
	asked   [2]uint8 // unit and function of the last frame sent
	ring    ring
	late    map[uint8]uint64
	written map[uint8]uint64
	noise   uint64
	readers []*TapReader
}

// NewTap returns a Tap without listeners.
func NewTap() *Tap { return &Tap{} }

// Late returns the number of answers of each unit that arrived after they were given up.
func (t *Tap) Late() map[uint8]uint64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.late)
}

// Wrote counts a write to a unit that was sent, whatever the answer.
func (t *Tap) Wrote(unit uint8) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.written == nil {
		t.written = map[uint8]uint64{}
	}
	t.written[unit]++
}

// Written returns the number of writes to a unit that were sent. Unit 0 counts the broadcasts.
func (t *Tap) Written(unit uint8) uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written[unit]
}

// Noise returns the number of received bytes that belong to no frame.
func (t *Tap) Noise() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noise
}

// Last returns the frames the tap has kept, oldest first: about twenty frames, with Modbus TCP
// about ten. Long ones are truncated.
func (t *Tap) Last() []Frame {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ring.frames()
}

// Framing returns the framing of the current connection.
func (t *Tap) Framing() Framing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.framing
}

// opened is called for each new connection.
func (t *Tap) opened(f Framing) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.framing, t.asked = f, [2]uint8{}
	t.pass(Frame{At: time.Now(), Mark: Opened})
}

// sent is called with the bytes that the conn accepted: a frame, or a part of one.
func (t *Tap) sent(at time.Time, m Mark, b []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := Frame{At: at, Direction: Sent, Mark: m, Bytes: b, Size: len(b)}
	f.Unit, f.Function = headOf(t.framing, b)
	t.asked = [2]uint8{f.Unit, f.Function}
	t.pass(f)
}

// sentAll is called with frames of Modbus TCP whose answers may arrive in any order.
func (t *Tap) sentAll(b []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now()
	for {
		frame, err := splitTCP(b)
		if err != nil || frame == nil {
			return
		}
		t.pass(Frame{At: at, Direction: Sent, Unit: frame[6], Function: frame[7], Bytes: frame, Size: len(frame)})
		b = b[len(frame):]
	}
}

// came is called with received bytes.
func (t *Tap) came(at time.Time, m Mark, b []byte) {
	if t == nil || len(b) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := Frame{At: at, Direction: Received, Mark: m, Unit: t.asked[0], Function: t.asked[1], Bytes: b, Size: len(b)}
	switch m {
	case Noise:
		t.noise += uint64(len(b))
	case BadChecksum, Short:
	default:
		f.Unit, f.Function = headOf(t.framing, b)
	}
	if m == Late {
		if t.late == nil {
			t.late = map[uint8]uint64{}
		}
		t.late[f.Unit]++
	}
	t.pass(f)
}

// happened is called for an event without a frame.
func (t *Tap) happened(at time.Time, m Mark, unit, function uint8) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass(Frame{At: at, Mark: m, Unit: unit, Function: function})
}

func (t *Tap) pass(f Frame) {
	f.Function &^= 0x80
	size := uint(ringSize)
	if t.framing == TCP {
		size = ringSizeTCP
	}
	t.ring.keep(f, size)
	for _, e := range t.readers {
		e.hear(f)
	}
}

// headOf returns the unit and the function of a frame, or 0 if it is too short.
func headOf(f Framing, b []byte) (unit, function uint8) {
	switch {
	case f.ascii():
		if len(b) < 5 {
			return 0, 0
		}
		return nibble(b[1])<<4 | nibble(b[2]), nibble(b[3])<<4 | nibble(b[4])
	case f == TCP:
		b = b[min(6, len(b)):]
	}
	if len(b) < 2 {
		return 0, 0
	}
	return b[0], b[1]
}
