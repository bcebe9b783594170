package mqtt

import (
	"net"
	"testing"
	"time"
)

// What the library has used is known to the byte, from CONNECT on: else an idle client would hold a buffer, and be read in whatever order.
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

// Who closes a socket holds its lock and waits for whoever reads: the reader must not want the lock before it has let go.
func TestAReaderDoesNotKeepAWriterFromClosing(t *testing.T) {
	s, far := connected(t)
	if _, err := far.Write([]byte("now")); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	reader := make(chan error, 1)
	go func() { reader <- s.await() }()
	time.Sleep(50 * time.Millisecond) // it has read, and wants the lock
	closed := make(chan struct{})
	go func() { s.abortLocked(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("closing waits for the reader, who waits for whoever closes")
	}
	s.mu.Unlock()
	<-reader
}

// connected is a socket, and who is at the other end of it.
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
