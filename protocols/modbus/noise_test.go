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

// truth is what a register of a unit holds: no two that are likely to be taken for each other hold the same.
func truth(unit uint8, address uint16) uint16 {
	x := uint32(unit)<<16 | uint32(address)
	x *= 0x9e3779b1
	return uint16(x>>16) ^ uint16(x)
}

// babble is the far end of a line on which much goes wrong.
type babble struct {
	framing   modbus.Framing
	datagrams bool
	dice      *rand.Rand
	timeout   time.Duration
	flips     int // bits at most in one frame: as many as its checksum finds without fail
	faults    int // of so many answers eleven are none as they should be
}

// port is the near end, as a serial port is: what has come lies in its buffer until it is read or thrown away. Or it is a socket: what was sent
// at once is read at once, and what answers to where it has been before does not come.
type port struct {
	net.Conn  // to what hears the requests
	datagrams bool

	mu       sync.Mutex
	come     [][]byte
	where    int
	ended    bool // nothing will come any more
	deadline time.Time
	wake     chan struct{}
}

// place is where answers to what is heard now go to.
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

// Discard throws away what has come.
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

// answer answers q as it should in most cases, and else in one of the ways lines are known for.
func (b *babble) answer(q modbus.Query, send func([]byte)) {
	frame := b.frame(q, q.Unit)
	switch b.dice.IntN(b.faults) {
	case 0: // bits flip
		for range min(b.flips, 1+b.dice.IntN(3)) {
			frame[b.dice.IntN(len(frame))] ^= 1 << b.dice.IntN(8)
		}
		send(frame)
	case 1: // it comes late
		d := b.timeout + time.Duration(b.dice.Int64N(int64(4*b.timeout)))
		time.AfterFunc(d, func() { send(frame) })
	case 2: // it is cut, or, on a stream, which loses nothing, of less than was asked for
		if b.framing == modbus.TCP {
			q.Quantity--
			send(b.frame(q, q.Unit))
			return
		}
		send(frame[:b.dice.IntN(len(frame))])
	case 3: // more follows than it has
		send(append(frame, b.rubbish()...))
	case 4: // another unit speaks instead
		send(b.frame(q, b.another(q.Unit)))
	case 5: // or first
		send(b.frame(q, b.another(q.Unit)))
		send(frame)
	case 6: // it is preceded by rubbish
		send(append(b.rubbish(), frame...))
	case 7: // it comes in pieces
		cut := b.dice.IntN(len(frame))
		send(frame[:cut])
		if b.framing == modbus.TCP { // where nothing comes in between
			send(frame[cut:])
			return
		}
		time.AfterFunc(time.Duration(b.dice.Int64N(int64(b.timeout/2))), func() { send(frame[cut:]) })
	case 8: // nothing
	case 9: // it comes twice
		send(frame)
		send(frame)
	case 10: // somebody speaks out of turn, in the name of a unit that is polled, maybe of this one, of what nobody has asked it for
		d, unasked := time.Duration(b.dice.Int64N(int64(4*b.timeout))), b.unasked() // the dice are not for two goroutines
		time.AfterFunc(d, func() { send(unasked) })
		send(frame)
	default:
		send(frame)
	}
}

// another is a unit that is not the one that was asked: nobody asks it, or it is asked as well and may owe an answer itself. What somebody says
// in the name of the unit that is asked, just then and in the form of its answer, is beyond what a master can tell.
func (b *babble) another(unit uint8) uint8 {
	if b.dice.IntN(2) == 0 {
		return unit + 100
	}
	return 1 + (unit+uint8(b.dice.IntN(units-1)))%units
}

// unasked is a good frame of a unit that is polled, with another function or more registers than it is ever asked for.
func (b *babble) unasked() []byte {
	q := modbus.Query{Request: modbus.Request{Function: modbus.ReadInputRegisters, Quantity: uint16(1 + b.dice.IntN(4))}, Transaction: uint16(b.dice.Uint32()) | 0x8000}
	if b.dice.IntN(2) == 0 {
		q.Function, q.Quantity = modbus.ReadHoldingRegisters, uint16(5+b.dice.IntN(4))
	}
	return b.frame(q, uint8(1+b.dice.IntN(units)))
}

// units are polled, from 1 on.
const units = 3

// rubbish holds nothing that could be an answer: no unit, function and checksum of one.
func (b *babble) rubbish() []byte {
	if b.framing == modbus.TCP { // a stream brings what was sent: a frame that nobody has asked for
		return modbus.AppendFrame(nil, modbus.TCP, uint16(b.dice.Uint32())|0x8000, 200, []byte{3, 2, 0, 1})
	}
	noise := make([]byte, 1+b.dice.IntN(12))
	for i := range noise {
		noise[i] = byte(b.dice.Uint32())
	}
	return noise
}

// Whatever a line does to answers, no register is ever given another one's value. The count of polls is that of the flag -noise-polls.
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
