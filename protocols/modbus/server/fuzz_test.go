package server

import (
	"bytes"
	"io"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
)

// stream is a connection on which a master sends something and disconnects.
type stream struct {
	io.Reader
	wrote bytes.Buffer
}

func (s *stream) Write(b []byte) (int, error)      { return s.wrote.Write(b) }
func (s *stream) Close() error                     { return nil }
func (s *stream) SetReadDeadline(time.Time) error  { return nil }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// echo answers what it can and refuses the rest.
type echo struct{ identity *Identity }

func (e echo) Handle(dst []byte, q *Query) []byte {
	if answer, mine := e.identity.Answer(dst, q.PDU); mine {
		return answer
	}
	a := modbus.Response{}
	switch {
	case q.Refused != nil:
		return modbus.AppendException(dst, q.PDU[0], q.Refused.Code)
	case q.Function <= modbus.ReadDiscreteInputs:
		a.Data = make([]byte, (q.Quantity+7)/8)
	case !q.Write() || q.Function == modbus.ReadWriteMultipleRegisters:
		a.Data = make([]byte, 2*q.Quantity)
	}
	pdu, err := modbus.AppendResponse(dst, q.Request, a)
	if err != nil {
		panic(err)
	}
	return pdu
}

// Whatever a master sends: no panic, at most one complete answer of a legal size per request, and
// nothing is kept.
func FuzzServe(f *testing.F) {
	write := modbus.Request{Unit: 7, Function: modbus.WriteMultipleRegisters, Address: 1, Quantity: 1, Data: []byte{1, 2}}
	for framing := range uint8(5) {
		for _, pdu := range [][]byte{
			modbus.AppendRequest(nil, write), {3, 0, 0, 0, 125}, {43, 14, 1, 0}, {43, 14, 4, 200}, {8, 0, 0, 1, 2}, {11}, {17}, {0x83, 1}, {20, 7},
		} {
			f.Add(framing, modbus.AppendFrame(nil, modbus.Framing(framing), 1, 7, pdu))
		}
	}
	f.Add(uint8(2), []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, framing uint8, said []byte) {
		if len(said) > 4096 {
			return
		}
		fr := modbus.Framing(framing % 5)
		s := New(Config{}, echo{&Identity{Vendor: "v", Product: "p", Version: "1"}})
		c := &stream{Reader: bytes.NewReader(said)}
		m := newMaster(s, c, Door{Framing: fr}, "fuzz")
		if fr == modbus.RTU || fr == modbus.ASCII {
			m.pace = unhurried{}
		}
		if err := m.serve(); err == nil {
			t.Fatal("it ends without a reason")
		}
		if fr == modbus.TCP {
			frames(t, c.wrote.Bytes(), m.requests.Load())
		}
		if most := int(m.requests.Load()) * (1 + 2*255 + 2); c.wrote.Len() > most {
			t.Fatalf("%d bytes answer %d requests", c.wrote.Len(), m.requests.Load())
		}
		if m.open != 0 || cap(m.pdu) > 4096 {
			t.Fatalf("%d requests open, %d bytes kept", m.open, cap(m.pdu))
		}
	})
}

type unhurried struct{}

func (unhurried) heard()        {}
func (unhurried) before() error { return nil }

// frames checks that b consists of n MBAP frames.
func frames(t *testing.T, b []byte, n uint64) {
	for ; n > 0; n-- {
		if len(b) < 9 || b[2] != 0 || b[3] != 0 {
			t.Fatalf("no frame: %x", b)
		}
		size := 6 + int(b[4])<<8 + int(b[5])
		if size < 9 || size > 260 || size > len(b) {
			t.Fatalf("a frame of %d bytes: %x", size, b)
		}
		b = b[size:]
	}
	if len(b) > 0 {
		t.Fatalf("more than the answers: %x", b)
	}
}

// For any identity and any request: a PDU of a legal size, and all objects can be read.
func FuzzIdentity(f *testing.F) {
	f.Add([]byte{43, 14, 1, 0}, "vendor", "")
	f.Add([]byte{43, 14, 2, 3}, "", "name")
	f.Add([]byte{43, 14, 4, 6}, string(make([]byte, 300)), string(make([]byte, 300)))
	f.Add([]byte{8, 0, 0}, "", "")
	f.Add([]byte{17}, "", string(make([]byte, 300)))
	f.Fuzz(func(t *testing.T, pdu []byte, vendor, name string) {
		if len(pdu) == 0 || len(pdu) > maxPDU {
			return
		}
		i := Identity{Vendor: vendor, Product: name, Version: vendor, URL: name, Name: vendor, Model: name, Application: vendor}
		answer, mine := i.Answer([]byte{0xaa}, pdu)
		if !mine {
			return
		}
		if len(answer) < 3 || len(answer) > 1+maxPDU || answer[0] != 0xaa || answer[1]&0x7f != pdu[0]&0x7f {
			t.Fatalf("%x is answered %x", pdu, answer)
		}
	})
}

// A master that follows "more" gets every object once.
func TestAllObjectsComeInPieces(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), 200))
	i := Identity{Vendor: long, Product: long, Version: "1", URL: "", Name: long, Model: "m", Application: long}
	var got []byte
	for from, rounds := byte(0), 0; rounds < 10; rounds++ {
		a, _ := i.Answer(nil, []byte{43, 14, 2, from})
		at := 7
		for range a[6] {
			got = append(got, a[at])
			at += 2 + int(a[at+1])
		}
		if at != len(a) {
			t.Fatalf("%d bytes, objects end at %d", len(a), at)
		}
		if a[4] == 0 {
			break
		}
		from = a[5]
	}
	if !bytes.Equal(got, []byte{0, 1, 2, 4, 5, 6}) {
		t.Errorf("got objects %v", got)
	}
}
