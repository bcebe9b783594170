package mqtt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/access"
	"gatewayd/protocols/journal/journaltest"
)

// A truncated SUBSCRIBE makes the library read past its end and ends the process (M3): here it ends
// only the client.
func TestTruncatedSubscribeEndsOnlyItsClient(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell})
	watch := join(t, s, hello{id: "watch"})
	watch.subscribe("will/evil", 0)
	evil := join(t, s, hello{id: "evil", ver: 5, will: "will/evil"})
	evil.send([]byte{0x82, 5, 0x30, 0x30, 0, 0, 0})
	evil.wantClosed()
	if e := wait(SessionDisconnected); e.Client.ID != "evil" || !errors.Is(e.Err, errPanicked) {
		t.Errorf("got %+v, want the end of evil by a panic", e)
	}
	if topic, payload, _ := watch.message(); topic != "will/evil" || payload != "gone" {
		t.Errorf("will: got %q %q", topic, payload)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
	join(t, s, hello{id: "evil", ver: 5}).sync()
}

// The library accepts any number of connections and waits for CONNECT for ever (M1).
func TestIdleSocketsAreCappedAndClosed(t *testing.T) {
	const sockets, most = 1500, 300
	// Enough time to dial more than the limit.
	s := start(t, Config{MaxClients: most, MaxClientsPerAddress: most, ConnectTimeout: 3 * time.Second})
	good := join(t, s, hello{id: "good"})
	conns := make([]net.Conn, sockets)
	for i := range conns {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
		if n := s.Stats().Connections; n > most {
			t.Fatalf("%d connections, cap is %d", n, most)
		}
	}
	for i, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 1))
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Fatalf("socket %d of %d is still open after %v", i, sockets, patience)
		}
	}
	good.sync()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		st := s.Stats()
		if st.Connections == 1 && st.Rejected+st.Strangers == sockets && st.Rejected > 0 && st.Strangers > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("stats %+v: want each to be rejected or a stranger", st)
		}
	}
}

func TestCapPerAddress(t *testing.T) {
	s := start(t, Config{MaxClientsPerAddress: 2})
	join(t, s, hello{id: "a"})
	join(t, s, hello{id: "b"})
	third := dial(t, s)
	_, _ = third.Write(hello{id: "c", ver: 4}.bytes())
	third.wantClosed()
	if n := s.Stats().Rejected; n != 1 {
		t.Errorf("%d rejected, want 1", n)
	}
}

// In the library one subscriber that reads nothing blocks every publisher to it, and the next
// client with its id (M23).
func TestStalledSubscriberDelaysNobody(t *testing.T) {
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			tell, wait := events(t)
			s := start(t, Config{OnSession: tell, WriteBuffer: 512 << 10})
			stalled := join(t, s, hello{id: "stalled"})
			stalled.subscribe("x/#", qos)
			var got atomic.Int64
			reader := join(t, s, hello{id: "reader"})
			reader.subscribe("x/#", 0)
			const n = 400
			done := make(chan struct{})
			go func() {
				defer close(done)
				for got.Load() < n {
					reader.message()
					got.Add(1)
				}
			}()
			payload := make([]byte, 64<<10)
			var worst time.Duration
			for i := range n {
				for got.Load()+4 < int64(i) { // the reader is as fast as it can be
					time.Sleep(time.Millisecond)
				}
				before := time.Now()
				if err := s.Publish("x/1", payload, false, Properties{}); err != nil {
					t.Fatal(err)
				}
				worst = max(worst, time.Since(before))
			}
			<-done
			if worst > patience/2 { // a stalled client would delay all for ever
				t.Errorf("worst publish took %v", worst)
			}
			if qos == 0 {
				if e := wait(SessionDisconnected); e.Client.ID != "stalled" {
					t.Errorf("%q was closed, want stalled", e.Client.ID)
				}
			} else if s.Stats().Dropped == 0 {
				t.Error("nothing was dropped for the client that does not acknowledge")
			}
			reader.sync()
			join(t, s, hello{id: "stalled"}).sync()
			t.Logf("worst publish %v", worst)
		})
	}
}

// starved is a listener that runs out of descriptors.
type starved struct {
	net.Listener
	failures atomic.Int64
}

func (l *starved) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// With the library's own listener, a process that runs out of descriptors once never accepts again
// (M11).
func TestAcceptSurvivesEMFILE(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := &starved{Listener: l}
	broken.failures.Store(5)
	cfg, err := Config{Authenticate: AllowAnyone}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s, err := run([]*entrance{{Listener: broken}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	join(t, s, hello{id: "late"}).sync()
	if n := s.Stats().AcceptErrors; n != 5 {
		t.Errorf("%d accept errors counted, want 5", n)
	}
}

func TestCloseEndsAStarvedListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	broken := &starved{Listener: l}
	broken.failures.Store(1 << 40)
	cfg, _ := Config{Authenticate: AllowAnyone}.withDefaults()
	s, err := run([]*entrance{{Listener: broken}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
}

func TestSlowlorisIsClosed(t *testing.T) {
	s := start(t, Config{ConnectTimeout: 200 * time.Millisecond})
	p := dial(t, s)
	drip := hello{id: strings.Repeat("x", 1000), ver: 4}.bytes()
	go func() { // longer than wantClosed waits
		for _, b := range drip {
			if _, err := p.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(2 * patience / 1000)
		}
	}()
	p.wantClosed()
}

// Six bytes suffice to make the library allocate 256 MB before a client has authenticated (M2).
func TestNonsenseIsRefusedBeforeItCosts(t *testing.T) {
	random := make([]byte, 4096)
	_, _ = rand.Read(random)
	random[0] = 0x47
	for name, b := range map[string][]byte{
		"256 MB connect":         {0x10, 0xff, 0xff, 0xff, 0x7f},
		"65 KB connect":          append([]byte{0x10}, size(maxConnect+1)...),
		"five byte length":       {0x10, 0xff, 0xff, 0xff, 0xff, 0x01},
		"publish first":          {0x30, 0xff, 0xff, 0xff, 0x7f},
		"http":                   []byte("GET / HTTP/1.1\r\n\r\n"),
		"tls hello":              {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"other protocol":         frame(0x10, text("AMQP"), make([]byte, 20)),
		"random":                 random,
		"256 MB after a connect": append(hello{id: "big", ver: 4}.bytes(), 0x30, 0xff, 0xff, 0xff, 0x7f),
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{})
			p := dial(t, s)
			p.send(b)
			if strings.Contains(name, "after") {
				p.want(0x20)
			}
			p.wantClosed()
			join(t, s, hello{id: "good"}).sync()
		})
	}
}

// The library's Close waits for all clients for ever, and panics when called twice (M32).
func TestCloseIsBounded(t *testing.T) {
	release := make(chan struct{})
	hanging := make(chan struct{})
	store := filepath.Join(t.TempDir(), "store")
	s := start(t, Config{Store: store, OnPublish: func(ClientInfo, Publish) error {
		close(hanging)
		<-release
		return nil
	}})
	for i := range 20 {
		join(t, s, hello{id: fmt.Sprint("c", i), ver: byte(4 + i%2)})
	}
	dial(t, s)
	stuck := join(t, s, hello{id: "stuck"})
	stuck.publish("cmd/a", 0, 0, "x")
	<-hanging
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	before := time.Now() // waiting for the callback would hang for ever
	err := s.Close(ctx)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close with a hanging callback: %v, want a deadline", err)
	}
	if d := time.Since(before); d > patience {
		t.Errorf("close took %v", d)
	}
	if err := s.store.Maintain(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the store of a broker that was left behind: %v, want it closed for the next one", err)
	}
	close(release)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { stop(t, s) })
	}
	wg.Wait()
	if err := s.Publish("data/x", nil, false, Properties{}); !errors.Is(err, ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
	again := start(t, Config{Listen: s.Addr().String(), Store: store})
	join(t, again, hello{id: "c1"}).sync()
}

// A disk that hangs delays the store, but not Close.
func TestCloseIsBoundedWhileTheDiskHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := start(t, Config{Store: path})
	hanging, back := journaltest.Hang(t, filepath.Dir(path))
	for _, n := range []int{300 << 10, 1} { // most of the file is garbage then, so it is rewritten
		s.store.put("x", make([]byte, n))
		s.store.flush()
	}
	tended := make(chan error, 1)
	go func() { tended <- s.store.Maintain() }()
	<-hanging
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- s.Close(ctx) }()
	select {
	case err := <-closed:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close while the disk hangs: %v, want a deadline", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("close waits for the disk")
	}
	next := start(t, Config{Store: path})
	back()
	if err := <-tended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("the store of a broker that was left behind: %v, want that it is closed", err)
	}
	next.store.put("y", []byte("1"))
	next.store.flush()
	stop(t, next)
	found := false
	start(t, Config{Store: path}).store.Each(func(key string, _ []byte) { found = found || key == "y" })
	if !found {
		t.Error("the store is that of the broker that was left behind")
	}
}

func TestCloseSaysGoodbyeToVersion5(t *testing.T) {
	s := start(t, Config{})
	old, modern := join(t, s, hello{id: "old"}), join(t, s, hello{id: "modern", ver: 5})
	stop(t, s)
	if b := modern.want(0xe0); b[0] != 0x8b {
		t.Errorf("disconnect reason %#x, want 0x8b", b[0])
	}
	if typ, b := old.next(); typ != 0 {
		t.Errorf("a 3.1.1 client got %#x %x", typ, b)
	}
}

func TestListenErrorNamesAddressAndCause(t *testing.T) {
	s := start(t, Config{})
	_, err := Start(Config{Listen: s.Addr().String(), Authenticate: AllowAnyone})
	if err == nil || !strings.Contains(err.Error(), s.Addr().String()) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	if _, err = Start(Config{Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "Authenticate") {
		t.Errorf("without Authenticate: %v", err)
	}
}

// In the library a panic in a hook ends the process (M10): here it is a refusal.
func TestPanickingCallbacksRefuse(t *testing.T) {
	boom := func() { panic("boom") }
	var at atomic.Value
	at.Store("")
	hit := func(what string) {
		if at.Load() == what {
			boom()
		}
	}
	s := start(t, Config{
		Authenticate: func(ClientInfo) (*access.Identity, error) { hit("authenticate"); return nil, nil },
		Authorize:    func(ClientInfo, string, bool) bool { hit("authorize"); return true },
		OnPublish:    func(ClientInfo, Publish) error { hit("publish"); return nil },
		OnSession:    func(SessionEvent) { hit("session") },
	})
	at.Store("authenticate")
	if _, code := dial(t, s).connect(hello{id: "a"}); code == 0 {
		t.Error("let in by a panic")
	}
	at.Store("session")
	p := join(t, s, hello{id: "b", ver: 5})
	at.Store("authorize")
	if code := p.subscribe("x", 0); code != 0x87 {
		t.Errorf("subscribe by a panic: %#x", code)
	}
	at.Store("publish")
	p.publish("cmd/x", 1, 9, "")
	if b := p.want(0x40); len(b) < 3 || b[2] != 0x83 {
		t.Errorf("puback %x, want reason 0x83", b)
	}
	at.Store("")
	p.sync()
	if n := s.Stats().Panics; n < 4 {
		t.Errorf("%d panics counted", n)
	}
}

func TestFuzzedPacketsNeverKill(t *testing.T) {
	s := start(t, Config{})
	seed := frame(0x82, []byte{0, 1}, props(5, nil), text("a/b"), []byte{1})
	for i := range 300 {
		b := bytes.Clone(seed)
		b[i%len(b)] ^= byte(1 << (i / len(b) % 8))
		p := join(t, s, hello{id: fmt.Sprint("f", i), ver: 5})
		p.send(b)
		p.send(frame(0x32, text("t"), binary.BigEndian.AppendUint16(nil, uint16(i)), []byte{byte(i)}))
		_ = p.Close()
	}
	join(t, s, hello{id: "good"}).sync()
}

// Data that arrived in time counts even if it was read after the deadline, which happens on a
// machine busy with many clients.
func TestWhatWasThereInTimeCounts(t *testing.T) {
	s, theirs := connected(t)
	expired := func(say string) {
		t.Helper()
		_ = s.SetReadDeadline(time.Time{})
		if _, err := theirs.Write([]byte(say)); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Conn.Read(make([]byte, 1)); n != 1 || err != nil { // wait until it is there
			t.Fatal(n, err)
		}
		_ = s.SetReadDeadline(time.Unix(1, 0))
	}
	b := make([]byte, 8)
	expired("-one")
	if n, err := s.Read(b); string(b[:n]) != "one" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	expired("-two")
	if n, err := s.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the rest of CONNECT is late: read %q, %v", b[:n], err)
	}
	s.taken = true
	if n, err := s.Read(b); string(b[:n]) != "two" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	expired("-three")
	if err := s.await(); err != nil {
		t.Error(err)
	}
	if n, err := s.Read(b); string(b[:n]) != "three" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if err := s.await(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing is there: %v", err)
	}
	expired("-four")
	_ = s.Close()
	if n, err := s.Read(b); n != 0 || err == nil {
		t.Errorf("closed: read %q, %v", b[:n], err)
	}
}
