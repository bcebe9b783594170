package mqtt

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/access"
)

// killed returns a copy of the file as a broker killed now leaves it.
func killed(t testing.TB, s *Server) string {
	t.Helper()
	b, err := os.ReadFile(s.cfg.Store)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStoredSessionsOutliveTheProcess(t *testing.T) {
	for _, ver := range []byte{4, 5} {
		t.Run(fmt.Sprint("version ", ver), func(t *testing.T) {
			tell, wait := events(t)
			s := start(t, Config{OnSession: tell, Store: filepath.Join(t.TempDir(), "store")})
			h := hello{id: "dev", ver: ver, keep: true}
			if ver == 5 {
				h.props = expiry(3600)
			}
			p := join(t, s, h)
			p.subscribe("x/#", 1)
			p.subscribe("y", 2)
			p.subscribe("z", 1)
			p.send(frame(0xa2, []byte{0, 3}, props(ver, nil), text("z")))
			p.want(0xb0)
			_ = s.Publish("x/seen", []byte("acknowledged"), false, Properties{})
			_, _, id := p.message()
			p.ack(id)
			p.sync()
			_ = s.Publish("x/seen", []byte("not acknowledged"), false, Properties{})
			p.message()
			_ = p.Close()
			wait(SessionDisconnected)
			const n = 50
			for i := range n {
				_ = s.Publish("x/1", []byte(fmt.Sprint(i)), false, Properties{ContentType: "text/plain"})
			}
			join(t, s, hello{id: "gone"}).subscribe("x/#", 1) // not to be kept

			again := start(t, Config{Store: killed(t, s)})
			if st := again.Stats(); st.Sessions != 1 || st.Subscriptions != 2 || st.Store != nil {
				t.Errorf("stats: %+v", st)
			}
			_ = again.Publish("x/1", []byte("live"), false, Properties{})
			p = dial(t, again)
			if present, code := p.connect(h); present != 1 || code != 0 {
				t.Fatalf("session present: %d, code %d", present, code)
			}
			want := []string{"not acknowledged"}
			for i := range n {
				want = append(want, fmt.Sprint(i))
			}
			want = append(want, "live")
			var got []string
			for range want {
				_, payload, id := p.message()
				got = append(got, payload)
				p.ack(id)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			p.sync()
			if q := again.sessions.queued("dev"); q != 0 {
				t.Errorf("%d bytes are still booked", q)
			}
			third := start(t, Config{Store: killed(t, again)})
			p = dial(t, third)
			if present, _ := p.connect(h); present != 1 {
				t.Error("session is gone at the second time")
			}
			p.sync() // nothing comes twice
			h.keep = false
			join(t, third, h)
			if fourth := start(t, Config{Store: killed(t, third)}); fourth.Stats().Subscriptions != 0 {
				t.Error("a clean start leaves subscriptions in the store")
			}
		})
	}
}

// A message of QoS 2 that was accepted is not accepted again, and one that was received is not sent
// again.
func TestExactlyOnceOutlivesTheProcess(t *testing.T) {
	s := start(t, Config{Store: filepath.Join(t.TempDir(), "store")})
	h := hello{id: "dev", ver: 4, keep: true}
	p, watch := join(t, s, h), join(t, s, hello{id: "watch", ver: 4, keep: true})
	watch.subscribe("x", 2)
	p.publish("x", 2, 7, "once")
	p.want(0x50)
	_, payload, id := watch.message()
	if payload != "once" {
		t.Fatalf("got %q", payload)
	}
	watch.send(frame(0x50, binary.BigEndian.AppendUint16(nil, id)))
	watch.want(0x62)
	watch.sync()

	again := start(t, Config{Store: killed(t, s)})
	watch = dial(t, again)
	if present, _ := watch.connect(hello{id: "watch", ver: 4, keep: true}); present != 1 {
		t.Fatal("the session is gone")
	}
	if b := watch.want(0x62); binary.BigEndian.Uint16(b) != id {
		t.Errorf("released again: %x, want id %d", b, id)
	}
	watch.send(frame(0x70, binary.BigEndian.AppendUint16(nil, id)))
	p = dial(t, again)
	p.connect(h)
	if b := p.want(0x50); binary.BigEndian.Uint16(b) != 7 {
		t.Errorf("pubrec again: %x", b)
	}
	p.publish("x", 2, 7, "once") // the client has not seen PUBREC
	p.want(0x50)
	p.send(frame(0x62, []byte{0, 7}))
	p.want(0x70)
	watch.sync()
	p.publish("x", 2, 7, "twice")
	p.want(0x50)
	if _, payload, _ := watch.message(); payload != "twice" {
		t.Errorf("got %q", payload)
	}
}

func TestRetainedMessagesOfClientsOutliveTheProcess(t *testing.T) {
	s := start(t, Config{Store: filepath.Join(t.TempDir(), "store")})
	p := join(t, s, hello{id: "p", ver: 5})
	put := func(topic, payload string, pr ...byte) {
		p.send(frame(0x31, text(topic), props(5, pr), []byte(payload)))
		p.sync()
	}
	put("tele/a", "1", append([]byte{0x03}, text("text/plain")...)...)
	put("tele/b", "2")
	put("tele/b", "")
	put("tele/short", "3", 0x02, 0, 0, 0, 1)
	put("tele/long", "4", 0x02, 0, 0, 0x0e, 0x10)
	_ = s.Publish("state/own", []byte("5"), true, Properties{}) // the owner publishes it again
	path := killed(t, s)
	again := start(t, Config{Store: path})
	for deadline := time.Now().Add(patience); again.kept.len() != 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are kept, want the two that do not expire soon", again.kept.len())
		}
	}
	late := join(t, again, hello{id: "late", ver: 5})
	late.subscribe("#", 1)
	got := map[string]string{}
	for range 2 {
		topic, payload, _ := late.message()
		got[topic] = payload
	}
	late.sync()
	if got["tele/a"] != "1" || got["tele/long"] != "4" {
		t.Errorf("got %v", got)
	}
}

// Only the client that had a session before may have it afterwards.
func TestStoredSessionBelongsToItsOwner(t *testing.T) {
	as := func(name string) func(ClientInfo) (*access.Identity, error) {
		return func(ClientInfo) (*access.Identity, error) { return &access.Identity{Name: name}, nil }
	}
	s := start(t, Config{Store: filepath.Join(t.TempDir(), "store"), Authenticate: as("bob")})
	join(t, s, hello{id: "dev", keep: true})
	path := killed(t, s)
	other := start(t, Config{Store: path, Authenticate: as("eve")})
	if _, code := dial(t, other).connect(hello{id: "dev", keep: true}); code == 0 {
		t.Error("eve has bob's session")
	}
	if a := other.Absent(); len(a) != 1 || a[0].Identity.Name != "bob" || !a[0].Restored {
		t.Errorf("absent: %+v", a)
	}
	other.Disconnect(func(c ClientInfo) bool { return c.Identity.Name == "bob" })
	third := start(t, Config{Store: killed(t, other), Authenticate: as("bob")})
	if len(third.Absent()) != 0 {
		t.Error("a session that was ended is back")
	}
}

// If the store cannot be read, its content is lost and nothing else.
func TestDamagedStoreIsLeftBehind(t *testing.T) {
	s := start(t, Config{Store: filepath.Join(t.TempDir(), "store")})
	for i := range 20 {
		p := join(t, s, hello{id: fmt.Sprint("d", i), keep: true})
		p.subscribe("x", 1)
		p.send(frame(0x31, text(fmt.Sprint("r/", i)), []byte("kept")))
		p.sync()
		_ = p.Close()
	}
	whole, err := os.ReadFile(killed(t, s))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(whole); at += 97 {
		path := filepath.Join(t.TempDir(), "store")
		b := slices.Clone(whole)
		b[at] ^= 0x10
		_ = os.WriteFile(path, b, 0o600)
		again := start(t, Config{Store: path})
		join(t, again, hello{id: "d0", keep: true}).sync()
		stop(t, again)
	}
}

// A full disk costs durability only; this is reported, and ends when there is room. The library's
// own storage ignores failed writes (M31).
func TestFullDiskCostsDurabilityOnly(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mount a tmpfs (run as root): %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	s := start(t, Config{Store: filepath.Join(dir, "store")})
	hog := filepath.Join(dir, "hog")
	_ = os.WriteFile(hog, make([]byte, 1<<20), 0o600)
	p := join(t, s, hello{id: "p", keep: true})
	p.subscribe("x", 1)
	for i := range 100 {
		p.send(frame(0x33, text(fmt.Sprint("r/", i)), []byte{0, 1}, make([]byte, 500)))
		p.want(0x40)
	}
	if s.Stats().Store == nil {
		t.Error("nobody says that the disk is full")
	}
	late := join(t, s, hello{id: "late"})
	late.subscribe("r/#", 0)
	for range 100 {
		late.message()
	}
	_ = os.Remove(hog)
	for deadline := time.Now().Add(patience); s.Stats().Store != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is never over: ", s.Stats().Store)
		}
	}
	if again := start(t, Config{Store: killed(t, s)}); again.kept.len() != 100 {
		t.Errorf("%d are kept", again.kept.len())
	}
}

func FuzzDecodeStored(f *testing.F) {
	f.Add([]byte{0x33, 8, 0, 1, 'a', 0, 1, 0, 'x', 'y'})
	f.Fuzz(func(t *testing.T, b []byte) {
		pk, err := decodeStored(b)
		if err == nil && checkTopic(pk.TopicName) != nil {
			t.Errorf("%x: topic %q", b, pk.TopicName)
		}
	})
}
