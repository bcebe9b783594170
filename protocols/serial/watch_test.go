package serial_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"gatewayd/protocols/serial"
)

// No data is lost and no Read waits in vain, in whatever order reads, deadlines and arrivals occur.
func TestEveryArrivalIsRead(t *testing.T) {
	master, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 115200})
	sent := make([]byte, 20_000)
	for i := range sent {
		sent[i] = byte(i * 7 / 3)
	}
	failed := make(chan error, 1)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(1+rand.IntN(40), len(rest))
			if _, err := master.Write(rest[:n]); err != nil {
				failed <- err
				return
			}
			rest = rest[n:]
			<-time.After(time.Duration(rand.IntN(200)) * time.Microsecond)
		}
		failed <- nil
	}()
	var got []byte
	buf := make([]byte, 100)
	for end := time.Now().Add(30 * time.Second); len(got) < len(sent); {
		if err := p.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(400)) * time.Microsecond)); err != nil {
			t.Fatal(err)
		}
		n, err := p.Read(buf[:1+rand.IntN(len(buf))])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().After(end) {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, buf[:n]...)
	}
	if err := <-failed; err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v, %d of %d bytes", err, len(got), len(sent))
	}
}

// A write that finds no room continues when there is room, while a read is waiting.
func TestAFullPortIsWrittenToTheEnd(t *testing.T) {
	master, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 115200})
	read := make(chan error, 1)
	go func() { _, err := p.Read(make([]byte, 1)); read <- err }()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	wrote := make(chan error, 1)
	go func() { _, err := p.Write(sent); wrote <- err }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(master, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v", err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if _, err := master.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// Close ends a write that waits for room.
func TestCloseUnblocksWrite(t *testing.T) {
	_, slave := pair(t)
	p := open(t, serial.Config{Path: slave.Name(), Baud: 115200})
	failed := make(chan error, 1)
	go func() { _, err := p.Write(make([]byte, 1<<20)); failed <- err }()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-failed; !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
