package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"gatewayd/protocols/modbus"
)

// Behaviour is how a device treats its clients. The zero value is a healthy device. Fields can be
// combined.
type Behaviour struct {
	// Slow: the answer takes that long, and delays later requests too, as in a single-threaded
	// device.
	Delay time.Duration
	// Late: the answer takes that long while further requests are accepted, as behind a radio or a
	// gateway.
	Late      time.Duration
	Silent    bool          // carries out requests and never answers
	Flaky     float64       // probability 0..1 that a request is ignored
	Noise     float64       // probability 0..1, per bit, that a bit of the answer's frame is flipped
	Exception uint8         // refuses everything with this code
	Lie       Lie           // sends wrong answers
	Hangup    bool          // TCP: closes the connection after each answer
	Pieces    int           // sends the frame in pieces of this many bytes, each in its own write; 0: whole
	Pause     time.Duration // between the pieces
	Seed      uint64        // of the random numbers for Flaky and Noise
}

// Lie is a wrong answer with a correct checksum.
type Lie uint8

const (
	Honest        Lie = iota
	WrongUnit         // in the name of the next unit
	WrongFunction     // registers requested, coils answered, and so on
	// One register or byte of bits missing; a write's echo with a wrong last byte; otherwise the
	// last byte missing.
	WrongLength
	Previous  // the answer to the previous request
	Truncated // the frame ends in the middle
)

// Behave changes the behaviour from the next request on.
func (d *Device) Behave(b Behaviour) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behaviour = b
	d.dice = rand.New(rand.NewPCG(b.Seed, uint64(d.unit)))
}

// reply is an answer to be sent: a frame and how to send it.
type reply struct {
	frame     []byte
	behaviour Behaviour
}

// answer carries out a query and returns the reply; with an empty frame nothing is sent.
func (d *Device) answer(q modbus.Query, f modbus.Framing, broadcast bool) reply {
	d.mu.Lock()
	b := d.behaviour
	deaf := b.Flaky > 0 && d.dice.Float64() < b.Flaky
	d.mu.Unlock()
	if deaf {
		return reply{behaviour: b}
	}
	d.requests.Add(1)
	pdu := d.execute(q, broadcast)
	if pdu == nil || b.Silent || broadcast {
		return reply{behaviour: b}
	}
	d.answers.Add(1)
	unit, pdu := d.lie(b.Lie, d.swap(pdu), pdu)
	frame := modbus.AppendFrame(make([]byte, 0, 16+2*len(pdu)), f, q.Transaction, unit, pdu)
	if b.Lie == Truncated {
		frame = frame[:len(frame)/2]
	}
	if b.Noise > 0 {
		d.flip(frame, b.Noise)
	}
	return reply{frame, b}
}

// swap stores an answer and returns the previous one.
func (d *Device) swap(pdu []byte) (before []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, d.last = d.last, pdu
	return before
}

func (d *Device) lie(l Lie, before, pdu []byte) (unit uint8, out []byte) {
	switch {
	case l == WrongUnit:
		return d.unit + 1, pdu
	case l == WrongFunction:
		out = slices.Clone(pdu)
		out[0] ^= 2 // 1<->3, 4<->6, 16<->18
		return d.unit, out
	case l == WrongLength:
		return d.unit, shorten(pdu)
	case l == Previous && before != nil:
		return d.unit, before
	}
	return d.unit, pdu
}

func shorten(pdu []byte) []byte {
	out := slices.Clone(pdu)
	switch fn := pdu[0]; fn {
	case modbus.ReadCoils, modbus.ReadDiscreteInputs:
		out = out[:len(out)-1]
	case modbus.ReadHoldingRegisters, modbus.ReadInputRegisters, modbus.ReadWriteMultipleRegisters:
		out = out[:len(out)-2]
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters, modbus.MaskWriteRegister:
		out[len(out)-1] ^= 1
		return out
	default:
		if fn&0x80 == 0 {
			return out[:len(out)-1]
		}
		out[len(out)-1] ^= 1
		return out
	}
	out[1] = byte(len(out) - 2)
	return out
}

func (d *Device) flip(frame []byte, p float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range frame {
		for bit := range 8 {
			if d.dice.Float64() < p {
				frame[i] ^= 1 << bit
			}
		}
	}
}
