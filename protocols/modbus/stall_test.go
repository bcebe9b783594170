package modbus

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// A read deadline kept from an earlier request that has passed meanwhile does not affect the next
// request.
func TestArmedTooSoon(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	answered := make(chan error, 1)
	go func() {
		b := make([]byte, 12)
		if _, err := io.ReadFull(far, b); err != nil {
			answered <- err
			return
		}
		_, err := far.Write([]byte{b[0], b[1], 0, 0, 0, 5, 1, 3, 2, 0xca, 0xfe})
		answered <- err
	}()
	l := NewLink(near, TCP, Options{})
	l.armed = time.Now().Add(time.Minute) // as it was before the process stalled
	if err := near.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	got, err := l.Do(context.Background(), Request{Unit: 1, Function: ReadHoldingRegisters, Quantity: 1, Timeout: 90 * time.Second})
	if err != nil || got.Register(0) != 0xcafe {
		t.Fatalf("%v, %v", got, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
