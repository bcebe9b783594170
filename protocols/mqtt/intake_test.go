package mqtt

import (
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The bytes that the library has processed are counted exactly, from CONNECT on. Otherwise an idle
// client would hold a buffer, and the order of readers would be lost.
func TestNothingIsThoughtToBeReadAhead(t *testing.T) {
	ahead := make(chan int, 1)
	s := start(t, Config{OnSession: func(e SessionEvent) {
		if e.Kind == SessionSubscribed {
			ahead <- e.Client.conn.ahead
		}
	}})
	for _, version := range []byte{4, 5} {
		p := join(t, s, hello{ver: version})
		p.sync()
		p.subscribe("a/b", 1)
		want := 2 + 2 + 2 + len("a/b") + 1 // header, packet identifier, filter, options
		if version == 5 {
			want++ // no properties
		}
		if got := <-ahead; got != want {
			t.Errorf("MQTT %d: %d bytes are read ahead, want the %d of SUBSCRIBE", version, got, want)
		}
	}
}

// Closing a socket holds its lock and waits for the reader, so a reader that has something to read
// must come through without the lock.
func TestAReaderDoesNotKeepAWriterFromClosing(t *testing.T) {
	s, far := connected(t)
	if _, err := far.Write([]byte("now")); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	reader := make(chan error, 1)
	go func() { reader <- s.await() }()
	select {
	case err := <-reader:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		s.mu.Unlock() // or the end of the test would wait for the reader
		t.Fatal("the reader waits for the lock of whoever closes")
	}
	s.abortLocked()
	s.mu.Unlock()
}

// connected returns a socket and its other end.
func connected(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = theirs.Close(), ours.Close() })
	s := &socket{}
	s.init(ours, newListener(nil, Config{ConnectTimeout: patience}, &counters{}))
	return s, theirs
}

// A goroutine that was woken together with a reader and has not run yet runs before that reader's
// message is sent.
func TestAPublishLetsThoseGoFirstWhoWereWokenWithIt(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	s, c := &Server{begun: time.Now().Add(-time.Hour)}, &conn{}
	for range 5 { // the runtime occasionally looks elsewhere first
		var first atomic.Bool
		go func() { first.Store(true) }()
		c.parked = true
		s.yielded.Store(0)
		s.yield(c)
		if first.Load() {
			return
		}
	}
	t.Error("nobody goes before a publish")
}

// Requests that arrive together are answered together, and messages that the client has not asked
// for are coalesced however often it acknowledges.
func TestWhoAsksIsAnsweredAtOnce(t *testing.T) {
	s := &socket{guard: newListener(nil, Config{Coalesce: time.Hour}, &counters{})}
	s.fresh = true
	s.prompted()
	s.prompted()
	if got := s.earned.Load(); got != 2 {
		t.Errorf("two that came together earn %d writes, want 2", got)
	}
	for range 1000 {
		s.earn()
	}
	if got := s.earned.Load(); got > burst+1 {
		t.Errorf("%d writes are earned without being spent", got)
	}
	s.refill = time.Now()
	for n := range burst {
		if !s.spend() {
			t.Fatalf("only %d writes of a burst", n)
		}
	}
	if s.spend() {
		t.Error("more writes than a burst")
	}
	for typ, want := range map[byte]bool{packets.Publish: true, packets.Subscribe: true, packets.Pingreq: true, packets.Pubrec: true,
		packets.Pubrel: true, packets.Puback: false, packets.Pubcomp: false} {
		if got := asks(&packets.FixedHeader{Type: typ}); got != want {
			t.Errorf("packet type %d asks for an answer: %v, want %v", typ, got, want)
		}
	}
}

// A client that accepts one message at a time gets the next as soon as it has acknowledged.
func TestAnAcknowledgementPaysForWhatItMakesRoomFor(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newConn(ours, newListener(nil, Config{ConnectTimeout: patience, WriteBuffer: 1 << 20, Coalesce: time.Hour}, &counters{}), &entrance{})
	defer c.abort()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	c.flow.limit, c.flow.used = 1, 1
	if err := c.acknowledged(); err != nil || c.earned.Load() != 0 {
		t.Errorf("%d writes earned by what nothing waits for, %v", c.earned.Load(), err)
	}
	c.flow.used, c.flow.held = 1, []heldPacket{{id: 1, data: []byte{0x32, 6, 0, 1, 'a', 0, 1, 'x'}}}
	c.tokens = 0
	c.refill = time.Now()
	if err := c.acknowledged(); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed {
		t.Error("what it has made room for waits")
	}
}
