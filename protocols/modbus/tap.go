package modbus

import (
	"maps"
	"sync"
	"time"
)

// Tap sees what passes on a line or link, whatever connection that has at the time: it keeps the last frames, and shows all of them to who
// listens. Its methods may be called by any goroutine. A nil Tap sees nothing.
type Tap struct {
	mu      sync.Mutex
	framing Framing
	asked   [2]uint8 // unit and function that something was sent to last
	ring    ring
	late    map[uint8]uint64
	written map[uint8]uint64
	noise   uint64
	ears    []*Ear
}

// NewTap makes one that nobody listens to.
func NewTap() *Tap { return &Tap{} }

// Late is how many answers of each unit have come after they were given up.
func (t *Tap) Late() map[uint8]uint64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.late)
}

// Wrote counts a write to a unit that has gone out, whatever came back.
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

// Written is how many writes to a unit have gone out; of unit 0, to all at once.
func (t *Tap) Written(unit uint8) uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written[unit]
}

// Noise is how many bytes have come that belong to no frame.
func (t *Tap) Noise() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noise
}

// Last is what the tap has kept, the oldest first: some twenty frames, of Modbus TCP some ten, of which long ones have
// lost their ends.
func (t *Tap) Last() []Frame {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ring.frames()
}

// Framing of what it sees.
func (t *Tap) Framing() Framing {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.framing
}

// opened is said with each new connection.
func (t *Tap) opened(f Framing) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.framing, t.asked = f, [2]uint8{}
	t.pass(Frame{At: time.Now(), Mark: Opened})
}

// sent is said of what was handed to the conn, or of the part of it that was taken.
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

// sentAll is said of frames of Modbus TCP, the answers to which may come in any order.
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

// came is said of what was received.
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

// happened is said of what is no frame.
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
	for _, e := range t.ears {
		e.hear(f)
	}
}

// headOf is the unit and the function of a frame; 0: it is too short.
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
