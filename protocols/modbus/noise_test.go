package modbus_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/modbus"
)

var noisePolls = flag.Int("noise-polls", 8_000, "polls of each way in TestNoWrongValueThroughNoise, half of them with -short; a million for the figure")

// truth returns the contents of a unit's register: registers that are likely to be confused have
// different contents.
func truth(unit uint8, address uint16) uint16 {
	x := uint32(unit)<<16 | uint32(address)
	x *= 0x9e3779b1
	return uint16(x>>16) ^ uint16(x)
}

// babble is the far end of a line with many faults.
type babble struct {
	framing   modbus.Framing
	datagrams bool
	dice      *rand.Rand
	timeout   time.Duration
	flips     int // maximum number of flipped bits in one frame: as many as its checksum reliably detects
	faults    int // eleven in this many answers are faulty
}

// port is the near end. It acts as a serial port: received bytes stay in its buffer until they are
// read or discarded. Or it acts as a datagram socket: what was sent in one piece is read in one
// piece, and answers to an earlier local port do not arrive.
type port struct {
	net.Conn  // to the receiver of the requests
	datagrams bool

	mu       sync.Mutex
	come     [][]byte
	where    int
	ended    bool // nothing more will arrive
	deadline time.Time
	wake     chan struct{}
}

// place identifies where answers to requests received now are sent.
func (p *port) place() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.where
}

func (p *port) receive(frame []byte, where int) {
	p.mu.Lock()
	switch {
	case where != p.where:
	case p.datagrams || len(p.come) == 0:
		p.come = append(p.come, slices.Clone(frame))
	default:
		p.come[0] = append(p.come[0], frame...)
	}
	p.mu.Unlock()
	p.stir()
}

func (p *port) end() {
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.stir()
}

func (p *port) stir() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Discard drops what has arrived.
func (p *port) Discard() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.come = nil
	if p.datagrams {
		p.where++
	}
	return nil
}

func (p *port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	p.deadline = t
	p.mu.Unlock()
	p.stir()
	return nil
}

func (p *port) Read(b []byte) (int, error) {
	for {
		p.mu.Lock()
		n := 0
		if len(p.come) > 0 {
			n = copy(b, p.come[0])
			if p.come[0] = p.come[0][n:]; p.datagrams || len(p.come[0]) == 0 {
				p.come = p.come[1:]
			}
		}
		wait, ended := time.Until(p.deadline), p.ended
		p.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case ended:
			return 0, io.EOF
		case wait <= 0:
			return 0, os.ErrDeadlineExceeded
		}
		late := time.NewTimer(wait)
		select {
		case <-p.wake:
		case <-late.C:
		}
		late.Stop()
	}
}

// wired returns the near end.
func (b *babble) wired() (near *port, hangUp func()) {
	heard, far := net.Pipe()
	near = &port{Conn: heard, datagrams: b.datagrams, wake: make(chan struct{}, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		in := modbus.NewRequestReader(far, b.framing)
		for {
			q, err := in.Next()
			if err != nil {
				return
			}
			where := near.place()
			b.answer(q, func(frame []byte) { near.receive(frame, where) })
		}
	}()
	return near, func() {
		_, _ = heard.Close(), far.Close()
		<-over
	}
}

func (b *babble) frame(q modbus.Query, unit uint8) []byte {
	var answer modbus.Response
	for i := range q.Quantity {
		v := truth(unit, q.Address+i)
		answer.Data = append(answer.Data, byte(v>>8), byte(v))
	}
	pdu, err := modbus.AppendResponse(nil, q.Request, answer)
	if err != nil {
		return nil
	}
	return modbus.AppendFrame(nil, b.framing, q.Transaction, unit, pdu)
}

// answer answers q correctly in most cases, and otherwise with one of the faults typical of lines.
func (b *babble) answer(q modbus.Query, send func([]byte)) {
	frame := b.frame(q, q.Unit)
	switch b.dice.IntN(b.faults) {
	case 0: // flipped bits
		for range min(b.flips, 1+b.dice.IntN(3)) {
			frame[b.dice.IntN(len(frame))] ^= 1 << b.dice.IntN(8)
		}
		send(frame)
	case 1: // late
		d := b.timeout + time.Duration(b.dice.Int64N(int64(4*b.timeout)))
		time.AfterFunc(d, func() { send(frame) })
	case 2: // truncated, or on a stream, which loses nothing, with fewer registers than requested
		if b.framing == modbus.TCP {
			q.Quantity--
			send(b.frame(q, q.Unit))
			return
		}
		send(frame[:b.dice.IntN(len(frame))])
	case 3: // followed by more bytes
		send(append(frame, b.rubbish()...))
	case 4: // another unit answers instead
		send(b.frame(q, b.another(q.Unit)))
	case 5: // another unit answers first
		send(b.frame(q, b.another(q.Unit)))
		send(frame)
	case 6: // preceded by garbage
		send(append(b.rubbish(), frame...))
	case 7: // in pieces
		cut := b.dice.IntN(len(frame))
		send(frame[:cut])
		if b.framing == modbus.TCP { // nothing can be inserted in a stream
			send(frame[cut:])
			return
		}
		time.AfterFunc(time.Duration(b.dice.Int64N(int64(b.timeout/2))), func() { send(frame[cut:]) })
	case 8: // no answer
	case 9: // duplicated
		send(frame)
		send(frame)
	case 10: // a device sends an unsolicited frame in the name of a unit that is polled, possibly of this one, for something never requested from it
		// The random generator is not safe for concurrent use.
		d, unasked := time.Duration(b.dice.Int64N(int64(4*b.timeout))), b.unasked()
		time.AfterFunc(d, func() { send(unasked) })
		send(frame)
	default:
		send(frame)
	}
}

// another returns a unit other than the addressed one: it is never polled, or it is polled as well
// and may have an outstanding answer itself. A master cannot detect a frame in the name of the
// addressed unit, at that moment and in the form of its answer.
func (b *babble) another(unit uint8) uint8 {
	if b.dice.IntN(2) == 0 {
		return unit + 100
	}
	return 1 + (unit+uint8(b.dice.IntN(units-1)))%units
}

// unasked returns a valid frame of a unit that is polled, with another function or more registers
// than are ever requested from it.
func (b *babble) unasked() []byte {
	q := modbus.Query{Request: modbus.Request{Function: modbus.ReadInputRegisters, Quantity: uint16(1 + b.dice.IntN(4))}, Transaction: uint16(b.dice.Uint32()) | 0x8000}
	if b.dice.IntN(2) == 0 {
		q.Function, q.Quantity = modbus.ReadHoldingRegisters, uint16(5+b.dice.IntN(4))
	}
	return b.frame(q, uint8(1+b.dice.IntN(units)))
}

// units are polled, from 1 on.
const units = 3

// rubbish contains nothing that could be an answer: no unit, function and checksum of one.
func (b *babble) rubbish() []byte {
	if b.framing == modbus.TCP { // a stream delivers only what was sent: an unsolicited frame
		return modbus.AppendFrame(nil, modbus.TCP, uint16(b.dice.Uint32())|0x8000, 200, []byte{3, 2, 0, 1})
	}
	noise := make([]byte, 1+b.dice.IntN(12))
	for i := range noise {
		noise[i] = byte(b.dice.Uint32())
	}
	return noise
}

// Whatever a line does to answers, no register ever gets another one's value. The flag -noise-polls
// sets the number of polls.
func TestNoWrongValueThroughNoise(t *testing.T) {
	for _, c := range []struct {
		name      string
		framing   modbus.Framing
		datagrams bool
		baud      int
		flips     int
	}{
		{"rtu", modbus.RTU, false, 19200, 3}, {"ascii", modbus.ASCII, false, 19200, 1}, {"tcp", modbus.TCP, false, 0, 0},
		{"rtu over tcp", modbus.RTUOverTCP, false, 0, 3}, {"ascii over tcp", modbus.ASCIIOverTCP, false, 0, 1},
		{"udp", modbus.TCP, true, 0, 0}, {"rtu over udp", modbus.RTUOverTCP, true, 0, 3},
	} {
		for name, faults := range map[string]int{"": 30, " and hardly a good answer": 12} {
			t.Run(c.name+name, func(t *testing.T) {
				b := &babble{framing: c.framing, datagrams: c.datagrams, dice: rand.New(rand.NewPCG(1, uint64(c.framing))), flips: c.flips, faults: faults}
				synctest.Test(t, func(t *testing.T) { poll(t, b, c.baud) })
			})
		}
	}
}

func poll(t *testing.T, b *babble, baud int) {
	const timeout = 100 * time.Millisecond
	polls, framing, faults := *noisePolls, b.framing, b.faults
	if testing.Short() {
		polls /= 2
	}
	b.timeout = timeout
	asks := rand.New(rand.NewPCG(2, uint64(framing)))
	var link *modbus.Link
	hangUp := func() {}
	defer func() { hangUp() }()
	good, lost := 0, 0
	for n := range polls {
		if link == nil {
			var near *port
			near, hangUp = b.wired()
			link = modbus.NewLink(near, framing, modbus.Options{Baud: baud, Timeout: timeout, Datagrams: b.datagrams})
		}
		r := modbus.Request{
			Unit: uint8(1 + asks.IntN(units)), Function: modbus.ReadHoldingRegisters, Address: uint16(asks.IntN(1000)), Quantity: uint16(1 + asks.IntN(4)),
		}
		got, err := link.Do(context.Background(), r)
		if err != nil {
			if errors.Is(err, modbus.ErrOwed) { // nothing was sent
				<-time.After(timeout)
			}
			if modbus.LinkLost(err) {
				hangUp()
				link = nil
				lost++
			}
			continue
		}
		good++
		for i := range r.Quantity {
			if v := uint16(got.Data[2*i])<<8 | uint16(got.Data[2*i+1]); v != truth(r.Unit, r.Address+i) {
				t.Fatalf("poll %d: unit %d register %d is %d, got %d", n, r.Unit, r.Address+i, truth(r.Unit, r.Address+i), v)
			}
		}
	}
	t.Logf("%d polls, %d answered, %d connections given up, 0 wrong values", polls, good, lost)
	if faults > 20 && good < polls/4 || good < polls/100 {
		t.Errorf("only %d of %d polls are answered", good, polls)
	}
}
