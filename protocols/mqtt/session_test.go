package mqtt

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func expiry(seconds uint32) []byte {
	return []byte{0x11, byte(seconds >> 24), byte(seconds >> 16), byte(seconds >> 8), byte(seconds)}
}

// The library sends the messages of a session in the order of the second in which they arrived,
// more or less (M21).
func TestStoredMessagesComeBackInOrder(t *testing.T) {
	for _, ver := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", ver), func(t *testing.T) {
			tell, wait := events(t)
			s := start(t, Config{OnSession: tell})
			h := hello{id: "dev", ver: ver, keep: true}
			if ver == 5 {
				h.props = append(expiry(60), 0x21, 0, 3) // receive maximum 3
			}
			p := join(t, s, h)
			p.subscribe("x/#", 1)
			_ = p.Close()
			wait(SessionDisconnected)
			const n = 100
			for i := range n {
				_ = s.Publish("x/1", []byte(fmt.Sprint(i)), false, Properties{})
			}
			p = dial(t, s)
			if present, _ := p.connect(h); present != 1 {
				t.Fatal("session is gone")
			}
			for i := range n {
				_, payload, id := p.message()
				if payload != fmt.Sprint(i) {
					t.Fatalf("message %d is %q", i, payload)
				}
				p.ack(id)
			}
			p.sync()
			if q := s.sessions.queued("dev"); q != 0 {
				t.Errorf("%d bytes are still booked", q)
			}
		})
	}
}

func TestReceiveMaximumHoldsBack(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", ver: 5, props: []byte{0x21, 0, 2}})
	p.subscribe("x", 1)
	for i := range 5 {
		_ = s.Publish("x", []byte(fmt.Sprint(i)), false, Properties{})
	}
	_, first, id := p.message()
	_, second, _ := p.message()
	p.sync() // a third one would come before the answer
	p.ack(id)
	_, third, _ := p.message()
	p.sync()
	if got := first + second + third; got != "012" {
		t.Errorf("got %q", got)
	}
}

// In the library the next client with an id receives what the expired session had subscribed to
// (M8).
func TestExpiredSessionTakesItsSubscriptionsAlong(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell})
	p := join(t, s, hello{id: "dev", ver: 5, props: expiry(1)})
	p.subscribe("secret/1", 1)
	_ = p.Close()
	if e := wait(SessionExpired); e.Client.ID != "dev" {
		t.Fatalf("got %+v", e)
	}
	if n := len(s.broker.Topics.Subscribers("secret/1").Subscriptions); n != 0 {
		t.Fatalf("%d subscriptions are left", n)
	}
	p = join(t, s, hello{id: "dev", ver: 5})
	_ = s.Publish("secret/1", []byte("x"), false, Properties{})
	p.sync() // fails if a message comes
}

// The library keeps any number of sessions, for up to 136 years (M9).
func TestSessionsAreCapped(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell, MaxSessions: 3, SessionBytes: 1000, SessionExpiry: time.Hour})
	for i := range 10 {
		p := join(t, s, hello{id: fmt.Sprint("d", i), ver: 5, props: expiry(1<<32 - 1)})
		p.subscribe("x", 1)
		// DISCONNECT, with the longest session expiry.
		p.send([]byte{0xe0, 7, 0, 5, 0x11, 0xff, 0xff, 0xff, 0xff})
		wait(SessionDisconnected)
		if i >= 3 {
			wait(SessionExpired)
		}
	}
	for _, cl := range s.absent() {
		if e := cl.Properties.Props.SessionExpiryInterval; e > 3600 {
			t.Errorf("%s is kept for %d s", cl.ID, e)
		}
	}
	for range 100 {
		_ = s.Publish("x", make([]byte, 100), false, Properties{})
	}
	if st := s.Stats(); st.Sessions != 3 || st.Subscriptions != 3 || st.Dropped < 3*90 {
		t.Errorf("stats %+v", st)
	}
	for _, cl := range s.absent() {
		if q := s.sessions.queued(cl.ID); q > 1000 {
			t.Errorf("%s has %d bytes queued", cl.ID, q)
		}
	}
}

func TestRetainedCatalogueArrivesWhole(t *testing.T) {
	const n = 3000
	s := start(t, Config{WriteBuffer: 256 << 10})
	for i := range n {
		if err := s.Publish(fmt.Sprintf("state/catalogue/a%d", i), make([]byte, 300), true, Properties{}); err != nil {
			t.Fatal(err)
		}
	}
	for qos := range byte(2) {
		p := join(t, s, hello{id: "p"})
		p.subscribe("state/#", qos)
		seen := map[string]bool{}
		for len(seen) < n {
			topic, _, id := p.message()
			seen[topic] = true
			if id != 0 {
				p.ack(id)
			}
		}
		p.sync()
	}
	if d := s.Stats().Dropped; d != 0 {
		t.Errorf("%d dropped", d)
	}
}

func TestRetainedLivesOnAndIsRemovedByAnEmptyPayload(t *testing.T) {
	s := start(t, Config{})
	_ = s.Publish("state/a", []byte("x"), true, Properties{})
	_ = s.Publish("state/short", []byte("x"), true, Properties{Expiry: time.Second})
	for deadline := time.Now().Add(patience); ; {
		if s.kept.len() == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("an expiring retained message stays")
		}
		time.Sleep(10 * time.Millisecond)
	}
	p := join(t, s, hello{id: "p"})
	p.subscribe("state/#", 0)
	if topic, _, _ := p.message(); topic != "state/a" {
		t.Errorf("got %q", topic)
	}
	_ = s.Publish("state/a", nil, true, Properties{})
	if _, payload, _ := p.message(); payload != "" {
		t.Errorf("got %q", payload)
	}
	late := join(t, s, hello{id: "late"})
	late.subscribe("state/#", 0)
	late.sync()
}

func TestClientsRetainWithinTheirCap(t *testing.T) {
	s := start(t, Config{MaxRetained: 2})
	p := join(t, s, hello{id: "p"})
	put := func(topic, payload string) {
		p.send(frame(0x31, text(topic), []byte(payload)))
		p.sync()
	}
	base := s.Stats().Retained
	for _, topic := range []string{"a", "b", "c"} {
		put(topic, "x")
	}
	if n := s.Stats().Retained - base; n != 2 {
		t.Errorf("%d retained, want 2", n)
	}
	put("a", "")
	put("c", "x")
	if n := s.Stats().Retained - base; n != 2 {
		t.Errorf("%d retained, want 2", n)
	}
}

func TestDisconnectCutsIdentities(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell})
	live := join(t, s, hello{id: "live", user: "bob", ver: 5})
	away := join(t, s, hello{id: "away", user: "bob", keep: true})
	_ = away.Close()
	wait(SessionDisconnected)
	other := join(t, s, hello{id: "other", user: "eve"})
	if n := s.Disconnect(func(c ClientInfo) bool { return c.Username == "bob" }); n != 2 {
		t.Errorf("%d were cut, want 2", n)
	}
	live.wantClosed()
	other.sync()
	if n := s.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestLongKeepAliveIsNoTimeout(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", alive: 43691}) // 1.5 times this is 0 in 16 bits
	p.sync()
	p.sync()
}

func TestLastWordsOfManyArrive(t *testing.T) {
	s := start(t, Config{})
	watch := join(t, s, hello{id: "watch"})
	watch.subscribe("bye/#", 1)
	const n = 100
	var all []*peer
	for i := range n {
		all = append(all, join(t, s, hello{id: fmt.Sprint("w", i), will: fmt.Sprint("bye/", i)}))
	}
	for _, p := range all {
		_ = p.Close()
	}
	for range n {
		_, _, id := watch.message()
		watch.ack(id)
	}
}

func TestCallbackMayDisconnect(t *testing.T) {
	var self atomic.Pointer[Server]
	told := make(chan struct{}, 100)
	s := start(t, Config{OnSession: func(e SessionEvent) {
		if b := self.Load(); b != nil && e.Kind == SessionUnsubscribed {
			b.Disconnect(func(c ClientInfo) bool { return c.ID == e.Client.ID })
			told <- struct{}{}
		}
	}})
	self.Store(s)
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 0)
	second := dial(t, s) // the first one's filter is gone, so the callback cuts off the second
	second.send(hello{id: "p", ver: 4}.bytes())
	for typ := byte(1); typ != 0; {
		typ, _ = second.next()
	}
	p.wantClosed()
	select {
	case <-told:
	case <-time.After(patience):
		t.Error("nobody was told")
	}
}

// A client that reads receives a burst of a thousand messages; the library drops those beyond a
// short queue (M24).
func TestBurstIsNotDropped(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", keep: true})
	p.subscribe("x", 1)
	const n = 1000
	for i := range n {
		_ = s.Publish("x", fmt.Append(nil, i), false, Properties{})
	}
	for i := range n {
		_, payload, id := p.message()
		if payload != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, payload)
		}
		p.ack(id)
	}
	if d := s.Stats().Dropped; d != 0 {
		t.Errorf("%d dropped", d)
	}
}

// A connected client receives more than its session would hold for it, even if its acknowledgements
// are late (M24).
func TestAcknowledgementsMayBeLate(t *testing.T) {
	s := start(t, Config{MaxQueued: 500})
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 1)
	var ids []uint16
	for range whileThere * 500 {
		if err := s.Publish("x", []byte("x"), false, Properties{}); err != nil {
			t.Fatal(err)
		}
		_, _, id := p.message()
		ids = append(ids, id)
	}
	_ = s.Publish("x", []byte("too much"), false, Properties{})
	p.sync() // fails if a message comes
	for _, id := range ids {
		p.send([]byte{0x40, 2, byte(id >> 8), byte(id)})
	}
	p.sync()
	_ = s.Publish("x", []byte("again"), false, Properties{})
	if _, payload, _ := p.message(); payload != "again" {
		t.Errorf("got %q", payload)
	}
}

// A message that arrives while a connection takes over the session goes to the new connection,
// once.
func TestNothingIsLostWhileASessionIsTakenOver(t *testing.T) {
	s := start(t, Config{MaxQueued: 10_000, SessionBytes: 4 << 20})
	h := hello{id: "dev", ver: 4, keep: true}
	p := join(t, s, h)
	p.subscribe("x", 1)
	var said, heard atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if said.Load()-heard.Load() > 500 { // enough is under way
				runtime.Gosched()
				continue
			}
			_ = s.Publish("x", fmt.Append(nil, said.Add(1)), false, Properties{})
		}
	}()
	all := map[string]bool{}
	read := func() {
		t.Helper()
		_, payload, id := p.message()
		all[payload] = true
		heard.Store(int64(len(all)))
		p.ack(id)
	}
	for range 80 {
		for range 20 {
			read()
		}
		_ = p.Close()
		p = dial(t, s)
		if present, _ := p.connect(h); present != 1 {
			t.Fatal("session is gone")
		}
	}
	close(stop)
	<-stopped
	for heard.Load() < said.Load() { // until nothing more comes
		read()
	}
}

// AwaitRoom also waits for a client that is away, and nothing is lost.
func TestRoomOfWhoIsAway(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell, MaxQueued: 20})
	h := hello{id: "dev", ver: 4, keep: true}
	p := join(t, s, h)
	p.subscribe("x", 1)
	_ = p.Close()
	who := wait(SessionDisconnected).Client
	const all = 100
	held, said := make(chan struct{}), make(chan error, 1)
	go func() {
		for i := range all {
			if !s.room(who, 1) {
				select {
				case <-held:
				default:
					close(held)
				}
			}
			if err := s.AwaitRoom(t.Context(), who, 1); err != nil {
				said <- err
				return
			}
			_ = s.Publish("x", fmt.Append(nil, i), false, Properties{})
		}
		said <- nil
	}()
	select {
	case <-held:
	case err := <-said:
		t.Fatal("nothing held it back: ", err)
	}
	if n := s.sessions.queued("dev"); n > 0 {
		t.Errorf("%d bytes were said to who is away", n)
	}
	p = dial(t, s)
	if present, _ := p.connect(h); present != 1 {
		t.Fatal("session is gone")
	}
	for i := range all {
		_, payload, id := p.message()
		if payload != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, payload)
		}
		p.ack(id)
	}
	if err := <-said; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AwaitRoom(ctx, ClientInfo{ID: "nobody"}, 1); err != nil {
		t.Error("who is not there has no room: ", err)
	}
}

// What a client sent before it hung up counts, including acknowledgements and DISCONNECT, even if
// it did not wait for the answers.
func TestWhoHangsUpUnansweredIsHeardOut(t *testing.T) {
	for _, with := range []string{"a reset", "the end"} {
		t.Run(with, func(t *testing.T) {
			tell, wait := events(t)
			began, release := make(chan struct{}, 1), make(chan struct{})
			s := start(t, Config{OnSession: tell, OnPublish: func(ClientInfo, Publish) error {
				began <- struct{}{}
				<-release
				return nil
			}})
			watch := join(t, s, hello{id: "watch"})
			watch.subscribe("gone", 0)
			p := join(t, s, hello{id: "dev", keep: true, will: "gone"})
			p.subscribe("x", 1)
			for range 3 {
				_ = s.Publish("x", []byte("message"), false, Properties{})
			}
			var acks []byte
			for range 3 {
				_, _, id := p.message()
				acks = append(acks, frame(0x40, binary.BigEndian.AppendUint16(nil, id))...)
			}
			p.publish("cmd/x", 1, 7, "")
			<-began
			p.send(append(acks, 0xe0, 0))
			if with == "a reset" {
				_ = p.Conn.(*net.TCPConn).SetLinger(0)
			}
			_ = p.Close()
			close(release)
			if e := wait(SessionDisconnected); e.Client.ID != "dev" || e.Err != nil {
				t.Errorf("%q ended by %v, want a goodbye", e.Client.ID, e.Err)
			}
			if q := s.sessions.queued("dev"); q != 0 {
				t.Errorf("%d bytes are still booked", q)
			}
			join(t, s, hello{id: "dev", keep: true}).sync() // fails if a message comes again
			watch.sync()                                    // or the will
		})
	}
}

// Queued messages of a client expire, and idle clients cause no garbage.
func TestIdleClientsLeaveNoGarbage(t *testing.T) {
	s := start(t, Config{SessionExpiry: time.Hour})
	short := join(t, s, hello{id: "short", ver: 5, keep: true, props: expiry(3600)})
	short.subscribe("state/#", 1)
	_ = short.Close()
	for end := time.Now().Add(20 * time.Second); len(s.absent()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still there")
		}
	}
	if err := s.Publish("state/short", []byte("x"), false, Properties{Expiry: time.Second}); err != nil {
		t.Fatal(err)
	}
	if s.sessions.queued("short") == 0 {
		t.Fatal("nothing waits")
	}
	for end := time.Now().Add(20 * time.Second); s.sessions.queued("short") > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it waits for ever")
		}
	}
	join(t, s, hello{id: "short", ver: 5, keep: true, props: expiry(3600)})
	for i := range 200 {
		join(t, s, hello{id: fmt.Sprint("idle-", i)})
	}
	const seconds = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range seconds {
		s.expire()
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / seconds; n > 5_000 {
		t.Errorf("%d bytes are allocated each second", n)
	}
}
