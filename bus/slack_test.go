package bus

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Many write at once and none waits for the far end; what each wrote comes whole and in its order.
func TestSlackKeepsOrder(t *testing.T) {
	near, far := net.Pipe()
	s := newSlack(near)
	const writers, each = 8, 500
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each {
				if n, err := s.Write([]byte{byte(w), byte(i >> 8), byte(i)}); n != 3 || err != nil {
					t.Error(n, err)
				}
			}
		})
	}
	all.Wait() // nobody has read yet
	var next [writers]int
	for range writers * each {
		var b [3]byte
		if _, err := io.ReadFull(far, b[:]); err != nil {
			t.Fatal(err)
		}
		if i := int(b[1])<<8 | int(b[2]); i != next[b[0]] {
			t.Fatalf("writer %d: %d came when %d was due", b[0], i, next[b[0]])
		}
		next[b[0]]++
	}
	_, _ = near.Close(), far.Close()
}

// Beyond a limit who writes waits, and the end of the connection ends that.
func TestSlackIsBounded(t *testing.T) {
	near, far := net.Pipe()
	s := newSlack(near)
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
				ended <- err
				return
			}
		}
	}()
	for full := false; !full; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		full = len(s.waiting.bytes) >= slackMost
		s.mu.Unlock()
	}
	_ = far.Close()
	<-ended
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("a connection that has ended takes more")
	}
	if n := len(s.waiting.bytes); n > slackMost+64<<10 {
		t.Errorf("%d bytes wait", n)
	}
}
