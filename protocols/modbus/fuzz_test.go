package modbus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	grid "github.com/grid-x/modbus"
	"pgregory.net/rapid"
)

// script is a Conn that swallows what is written and then delivers an answer in chunks of the sizes given; afterwards it is silent.
type script struct {
	answer []byte
	chunks []byte
	wrote  []byte
}

func (s *script) Write(b []byte) (int, error) { s.wrote = append(s.wrote, b...); return len(b), nil }
func (s *script) Close() error                { return nil }
func (s *script) Discard() error              { return nil }

func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func (s *script) Read(b []byte) (int, error) {
	if len(s.wrote) == 0 || len(s.answer) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := 1
	if len(s.chunks) > 0 {
		n += int(s.chunks[0])
		s.chunks = s.chunks[1:]
	}
	n = copy(b, s.answer[:min(n, len(s.answer))])
	s.answer = s.answer[n:]
	return n, nil
}

// asked draws a request that passes Check.
func asked(t *rapid.T) Request {
	r := Request{Unit: rapid.Byte().Draw(t, "unit"), Address: uint16(rapid.IntRange(0, 60000).Draw(t, "address"))}
	r.Function = rapid.SampledFrom([]uint8{1, 2, 3, 4, 5, 6, 15, 16, 22, 23}).Draw(t, "function")
	most, _ := limits(r)
	r.Quantity = uint16(rapid.IntRange(1, most).Draw(t, "quantity"))
	_, size := limits(r)
	if r.Function == ReadWriteMultipleRegisters {
		size = 2 * rapid.IntRange(1, 121).Draw(t, "write")
		r.WriteAddress = 77
	}
	if r.Function == WriteSingleCoil {
		r.Data = rapid.SampledFrom([][]byte{{0xff, 0}, {0, 0}}).Draw(t, "coil")
	} else if size > 0 {
		r.Data = rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "data")
	}
	return r
}

func TestRequestsComeBackFromTheirFrames(t *testing.T) {
	for _, f := range []Framing{RTU, ASCII, TCP, RTUOverTCP, ASCIIOverTCP} {
		t.Run(f.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				requests := rapid.SliceOfN(rapid.Custom(asked), 1, 5).Draw(t, "requests")
				var stream []byte
				for i, r := range requests {
					stream = AppendFrame(stream, f, uint16(i), r.Unit, AppendRequest(nil, r))
				}
				var in io.Reader = bytes.NewReader(stream)
				if rapid.Bool().Draw(t, "byte by byte") {
					in = iotest.OneByteReader(in)
				}
				q := NewRequestReader(in, f)
				for i, want := range requests {
					got, err := q.Next()
					if err != nil || got.Refused != nil || f == TCP && int(got.Transaction) != i || !same(got.Request, want) {
						t.Fatalf("request %d: %+v %v, want %+v", i, got, err, want)
					}
				}
				if _, err := q.Next(); !errors.Is(err, io.EOF) {
					t.Fatalf("after the last one: %v", err)
				}
			})
		})
	}
}

func same(a, b Request) bool {
	return a.Unit == b.Unit && a.Function == b.Function && a.Address == b.Address && a.Quantity == b.Quantity &&
		a.WriteAddress == b.WriteAddress && bytes.Equal(a.Data, b.Data)
}

// TestGridBuildsWhatWeParse: our own encoding of requests is byte for byte grid-x's.
func TestGridBuildsWhatWeParse(t *testing.T) {
	for _, f := range []Framing{ASCII, TCP, RTUOverTCP} {
		rapid.Check(t, func(t *rapid.T) {
			r := asked(t)
			r.Unit = max(r.Unit, 1)
			s := &script{}
			l := NewLink(s, f, Options{})
			l.dirty = false
			_, _ = l.Do(context.Background(), r)
			if want := AppendFrame(nil, f, 1, r.Unit, AppendRequest(nil, r)); !bytes.Equal(s.wrote, want) {
				t.Fatalf("%s: sent %x, want %x", f, s.wrote, want)
			}
		})
	}
}

func FuzzRequestReader(f *testing.F) {
	r := Request{Unit: 7, Function: WriteMultipleRegisters, Address: 1, Quantity: 1, Data: []byte{1, 2}}
	for framing := range uint8(5) {
		f.Add(framing, AppendFrame(nil, Framing(framing), 1, 7, AppendRequest(nil, r)))
		f.Add(framing, AppendFrame([]byte{0, 0xff}, Framing(framing), 1, 7, []byte{43, 14, 1, 0}))
	}
	f.Fuzz(func(t *testing.T, framing uint8, stream []byte) {
		fr := Framing(framing % 5)
		whole := drainRequests(t, fr, bytes.NewReader(stream))
		if fr != TCP && fr != ASCII && fr != ASCIIOverTCP {
			return // a frame of an unknown function ends where its chunk does
		}
		if pieces := drainRequests(t, fr, iotest.OneByteReader(bytes.NewReader(stream))); len(pieces) != len(whole) && len(stream) < 1000 {
			t.Fatalf("%d requests in one chunk, %d byte by byte", len(whole), len(pieces))
		}
	})
}

func drainRequests(t *testing.T, f Framing, in io.Reader) []Query {
	s := NewRequestReader(in, f)
	var all []Query
	for {
		q, err := s.Next()
		if err != nil {
			return all
		}
		if q.Refused == nil {
			if err := q.checkShape(); err != nil {
				t.Fatalf("read but not within the limits: %v", err)
			}
		}
		all = append(all, q)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte{3, 0, 0, 0, 10})
	f.Add([]byte{23, 0, 0, 0, 1, 0, 0, 0, 1, 2, 9, 9})
	f.Add([]byte{5, 0, 1, 0xff, 0})
	f.Fuzz(func(t *testing.T, pdu []byte) {
		r, err := ParseRequest(1, pdu)
		if err != nil {
			var e *Exception
			if !errors.As(err, &e) || e.Code < IllegalFunction || e.Code > IllegalValue {
				t.Fatalf("%x: %v", pdu, err)
			}
			return
		}
		if again := AppendRequest(nil, r); !bytes.Equal(again, pdu) {
			t.Fatalf("%x came back as %x", pdu, again)
		}
	})
}

// FuzzAnswer plays hostile answers in arbitrary chunks to a Link. What it accepts must be what grid-x makes of the last frame, with the
// right length; nothing may panic.
func FuzzAnswer(f *testing.F) {
	for framing := range uint8(5) {
		good := AppendFrame(nil, Framing(framing), 1, 7, []byte{3, 4, 1, 2, 3, 4})
		f.Add(framing, uint8(3), good, []byte{0, 3, 200})
		f.Add(framing, uint8(3), append([]byte{0}, good...), []byte{200})
		f.Add(framing, uint8(3), AppendFrame(nil, Framing(framing), 1, 7, []byte{0x83, 2}), []byte{0, 0, 0, 0, 0, 0})
		f.Add(framing, uint8(6), AppendFrame(nil, Framing(framing), 1, 7, []byte{6, 0, 9, 0, 2}), []byte{})
		f.Add(framing, uint8(1), AppendFrame(nil, Framing(framing), 1, 7, []byte{1, 1, 3}), []byte{1})
	}
	f.Fuzz(func(t *testing.T, framing, function uint8, answer, chunks []byte) {
		r := Request{Unit: 7, Function: function, Address: 9, Quantity: 2, Timeout: time.Millisecond}
		switch r.Function {
		case WriteSingleCoil, WriteSingleRegister:
			r.Data = []byte{0, 0}
		case WriteMultipleCoils:
			r.Data = []byte{2}
		case WriteMultipleRegisters, MaskWriteRegister, ReadWriteMultipleRegisters:
			r.Data = []byte{0, 1, 0, 2}
		}
		fr := Framing(framing % 5)
		if r.Check(fr) != nil {
			return
		}
		l := NewLink(&script{answer: slices.Clone(answer), chunks: chunks}, fr, Options{Silence: time.Nanosecond})
		l.dirty = false
		got, err := l.Do(context.Background(), r)
		var refused *Exception
		switch {
		case errors.As(err, &refused):
			if refused.Function != r.Function || refused.Code == 0 {
				t.Fatalf("%x: %v", answer, err)
			}
		case err == nil && !r.Write() && len(got.Data) != l.want.size-2:
			t.Fatalf("%x: accepted %x", answer, got.Data)
		}
		if fr == RTU || fr == ASCII || errors.Is(err, ErrTimeout) || (err != nil && refused == nil) {
			return
		}
		differ(t, fr, r, answer, got, refused)
	})
}

// differ asks grid-x about the frame at the beginning of answer, for framings where nothing may precede it.
func differ(t *testing.T, f Framing, r Request, answer []byte, got Response, refused *Exception) {
	t.Helper()
	p := packagerOf(f)
	p.SetSlave(r.Unit)
	n := f.size(wantOf(r).size)
	if refused != nil {
		n = f.size(2)
	}
	if f == TCP {
		// An earlier frame cannot have been taken: no transaction is owed.
		n = min(n, len(answer))
	}
	if n > len(answer) {
		t.Fatalf("%x accepted, but it is shorter than an answer", answer)
	}
	request := AppendFrame(nil, f, 1, r.Unit, AppendRequest(nil, r))
	if err := p.Verify(request, answer[:n]); err != nil {
		t.Fatalf("%x: grid-x refuses it: %v", answer[:n], err)
	}
	var pdu *grid.ProtocolDataUnit
	pdu, err := p.Decode(answer[:n])
	if err != nil {
		t.Fatalf("%x: grid-x refuses it: %v", answer[:n], err)
	}
	if refused == nil && len(got.Data) > 0 && !bytes.Equal(pdu.Data[1:], got.Data) {
		t.Fatalf("%x: grid-x reads %x, we %x", answer[:n], pdu.Data, got.Data)
	}
}
