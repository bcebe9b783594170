package modbus

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// FuzzPipe plays hostile streams to a Pipe with three requests under way. What it returns for one
// of them must be an answer to that one.
func FuzzPipe(f *testing.F) {
	ok := func(id uint16, unit uint8) []byte {
		return AppendFrame(nil, TCP, id, unit, []byte{3, 4, 1, 2, 3, unit})
	}
	f.Add(slices.Concat(ok(3, 3), ok(1, 1), ok(2, 2)), uint8(5))
	f.Add(slices.Concat(ok(1, 1), ok(1, 1)), uint8(200))
	f.Add(slices.Concat(ok(2, 2), AppendFrame(nil, TCP, 1, 1, []byte{0x83, 2}), ok(3, 2)), uint8(1))
	f.Add(slices.Concat(ok(9, 1), ok(1, 1)), uint8(30))
	f.Add([]byte{0, 1, 0, 0, 0, 1, 1}, uint8(3))
	f.Add(append(ok(1, 1), 0, 2, 0, 0, 0, 7), uint8(12))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		near, far := net.Pipe()
		p := NewPipe(near, Options{Timeout: 20 * time.Millisecond})
		go func() {
			_, _ = io.ReadAtLeast(far, make([]byte, 64), 12)
			go func() { _, _ = io.Copy(io.Discard, far) }()
			for rest := stream; len(rest) > 0; {
				n := min(int(piece)+1, len(rest))
				if _, err := far.Write(rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		done := make(chan struct{})
		for unit := range uint8(3) {
			go func() {
				defer func() { done <- struct{}{} }()
				r := Request{Unit: unit + 1, Function: ReadHoldingRegisters, Quantity: 2}
				got, err := p.Do(context.Background(), r)
				var refused *Exception
				switch {
				case err == nil && len(got.Data) != 4:
					t.Errorf("%x: unit %d got %x", stream, unit+1, got.Data)
				case errors.As(err, &refused) && refused.Function != ReadHoldingRegisters:
					t.Errorf("%x: unit %d got %v", stream, unit+1, err)
				}
			}()
		}
		for range 3 {
			<-done
		}
		_, _ = near.Close(), far.Close()
	})
}
