package bus

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Many goroutines write at once and none waits for the far end; what each wrote arrives whole and
// in order.
func TestSlackKeepsOrder(t *testing.T) {
	near, far := net.Pipe()
	s := newAsyncConn(near)
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

// Beyond the limit a writer waits, and the end of the connection ends the wait.
func TestSlackIsBounded(t *testing.T) {
	near, far := net.Pipe()
	s := newAsyncConn(near)
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
		full = len(s.waiting) >= asyncMax
		s.mu.Unlock()
	}
	_ = far.Close()
	<-ended
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("a connection that has ended takes more")
	}
	if n := len(s.waiting); n > asyncMax+64<<10 {
		t.Errorf("%d bytes wait", n)
	}
}

// Each write passes on whole messages, as many as fit the server's buffer.
func TestSlackHandsMessagesWhole(t *testing.T) {
	pub := func(n int) string { return fmt.Sprintf("PUB gw.a.data.x %d\r\n%s\r\n", n, strings.Repeat("\n", n)) }
	hpub := func(n int) string {
		return fmt.Sprintf("HPUB a _INBOX.b 12 %d\r\nNATS/1.0\r\n\r\n%s\r\n", n+12, strings.Repeat("9", n))
	}
	small := pub(900) + pub(900)
	for name, want := range map[string][]string{
		"a line":                  {"PING\r\n"},
		"lines":                   {"PING\r\nSUB a  1\r\nUNSUB 1\r\n"},
		"small ones":              {small, small, pub(900)},
		"headers":                 {hpub(1000), hpub(1000), hpub(1000)},
		"a large one among small": {pub(0) + pub(10), pub(5000), pub(7)},
		"half a line":             {pub(1) + "PUB x 1"},
		"half a message":          {pub(1) + "PUB x 10\r\n12345"},
		"no number":               {"PUB x\r\nPUB \nPUB x 1000000000000000000000000000\r\n1"},
		"empty lines":             {"\n\r\n\n"},
	} {
		var got []string
		s := newAsyncConn(tap{say: func(b []byte) { got = append(got, string(b)) }})
		if err := s.hand([]byte(strings.Join(want, ""))); err != nil {
			t.Error(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// tap is a connection that reports what is written to it.
type tap struct {
	net.Conn
	say func([]byte)
}

func (t tap) Write(b []byte) (int, error) { t.say(b); return len(b), nil }
