package mqtt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSortByIDFollowsTheCounter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.IntRange(1, 65535).Draw(t, "first")
		n := rapid.IntRange(1, 300).Draw(t, "n")
		want := make([]uint16, n)
		for i := range want {
			want[i] = uint16((first-1+i)%65535 + 1)
		}
		var held []heldPacket
		for _, i := range rapid.Permutation(indices(n)).Draw(t, "order") {
			held = append(held, heldPacket{id: want[i]})
		}
		sortByID(held)
		for i, h := range held {
			if h.id != want[i] {
				t.Fatalf("place %d has id %d, want %d", i, h.id, want[i])
			}
		}
	})
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// A client and the broker both count packet ids from 1. In the library a publish of the client
// removes a message to it (M20), and its SUBSCRIBE is refused (M30).
func TestPacketIDsOfBothSidesAreApart(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell})
	p := join(t, s, hello{id: "valve", keep: true})
	p.subscribe("cmds", 1)
	_ = s.Publish("cmds", []byte("open"), false, Properties{})
	_, _, id := p.message()
	p.publish("other", 1, id, "mine")
	if b := p.want(0x40); binary.BigEndian.Uint16(b) != id {
		t.Errorf("puback for %x, want %d", b, id)
	}
	p.send(frame(0x82, binary.BigEndian.AppendUint16(nil, id), text("more"), []byte{0}))
	if b := p.want(0x90); binary.BigEndian.Uint16(b) != id || b[2] != 0 {
		t.Errorf("suback %x", b)
	}
	p.send(frame(0xa2, binary.BigEndian.AppendUint16(nil, id), text("more")))
	if b := p.want(0xb0); binary.BigEndian.Uint16(b) != id {
		t.Errorf("unsuback %x", b)
	}
	_ = p.Close()
	wait(SessionDisconnected)
	p = join(t, s, hello{id: "valve", keep: true})
	if _, payload, again := p.message(); payload != "open" || again != id {
		t.Errorf("redelivered %q with id %d, want open with %d", payload, again, id)
	}
}

// The library refuses a repeated PUBLISH of QoS 2 with 0x91, although it was accepted (M29).
func TestQoS2SurvivesRepetitionAndReconnection(t *testing.T) {
	for _, ver := range []byte{4, 5} {
		tell, wait := events(t)
		var mu sync.Mutex
		taken := 0
		s := start(t, Config{OnSession: tell, OnPublish: func(ClientInfo, Publish) error {
			mu.Lock()
			defer mu.Unlock()
			taken++
			return nil
		}})
		h := hello{id: "p", ver: ver, keep: true}
		if ver == 5 {
			h.props = expiry(60)
		}
		p := join(t, s, h)
		id := []byte{0, 9}
		for range 2 {
			p.publish("cmd/x", 2, 9, "once")
			if b := p.want(0x50); binary.BigEndian.Uint16(b) != 9 || len(b) > 2 && b[2] >= 0x80 {
				t.Errorf("version %d: pubrec %x", ver, b)
			}
		}
		_ = p.Close()
		wait(SessionDisconnected)
		p = join(t, s, h)
		if b := p.want(0x50); binary.BigEndian.Uint16(b) != 9 {
			t.Errorf("version %d: pubrec again %x", ver, b)
		}
		p.send(frame(0x62, id))
		if b := p.want(0x70); binary.BigEndian.Uint16(b) != 9 {
			t.Errorf("version %d: pubcomp %x", ver, b)
		}
		p.sync()
		if n := len(connOf(s.client(t, "p")).flow.ids); n != 0 {
			t.Errorf("version %d: %d ids are left", ver, n)
		}
		if taken != 1 {
			t.Errorf("version %d: taken %d times", ver, taken)
		}
	}
}

// The library delivers and acknowledges what was refused, or answers QoS 2 with the wrong packet
// (M25).
func TestRefusedCommandsAreSaidSo(t *testing.T) {
	s := start(t, Config{OnPublish: func(ClientInfo, Publish) error { return fmt.Errorf("mailbox is full") }})
	modern := join(t, s, hello{id: "modern", ver: 5})
	modern.publish("cmd/x", 1, 1, "")
	if b := modern.want(0x40); b[2] != 0x83 {
		t.Errorf("puback %x", b)
	}
	modern.publish("cmd/x", 2, 2, "")
	if b := modern.want(0x50); binary.BigEndian.Uint16(b) != 2 || b[2] != 0x83 {
		t.Errorf("pubrec %x", b)
	}
	modern.publish("cmd/x", 0, 0, "")
	modern.sync()
	for qos := byte(1); qos <= 2; qos++ {
		old := join(t, s, hello{id: "old"})
		old.publish("cmd/x", qos, 3, "")
		old.wantClosed()
	}
}

// With the library's own flow control this hangs within a second: it takes a lock that it holds
// (M22).
func TestAcknowledgingWhileOthersPublishDoesNotHang(t *testing.T) {
	const publishers, each = 4, 2000
	s := start(t, Config{MaxQueued: 60000, WriteBuffer: 8 << 20})
	p := join(t, s, hello{id: "p", ver: 5, props: []byte{0x21, 0, 20}})
	p.subscribe("x/#", 1)
	var wg sync.WaitGroup
	for g := range publishers {
		wg.Go(func() {
			for i := range each {
				if err := s.Publish(fmt.Sprint("x/", g), fmt.Append(nil, i), false, Properties{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := map[string]int{}
	for range publishers * each {
		topic, payload, id := p.message()
		if payload != fmt.Sprint(next[topic]) {
			t.Fatalf("%s: got %s, want %d", topic, payload, next[topic])
		}
		next[topic]++
		p.ack(id)
	}
	wg.Wait()
	p.sync()
	if st := s.Stats(); st.Dropped != 0 {
		t.Errorf("%d dropped", st.Dropped)
	}
}

func TestBusySubscriberIsWrittenToInBatches(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 0)
	before, t0 := s.Stats().Writes, time.Now()
	const n = 2000
	for range n {
		_ = s.Publish("x", []byte("reading"), false, Properties{})
	}
	for range n {
		p.message()
	}
	most := int64(burst + 2*time.Since(t0)/(5*time.Millisecond) + 5)
	if w := s.Stats().Writes - before; w > most {
		t.Errorf("%d writes for %d messages, want at most %d", w, n, most)
	}
}

// Large messages do not wait to be coalesced: a burst of them would fill the buffer and disconnect
// a client that reads them all.
func TestLargeMessagesAreNotHeldBack(t *testing.T) {
	s := start(t, Config{Coalesce: time.Hour})
	p := join(t, s, hello{id: "p"})
	p.subscribe("#", 0)
	large := strings.Repeat("reading ", batch/8)
	for i := range 10 * burst {
		_ = s.Publish("small", []byte("x"), false, Properties{})
		_ = s.Publish("large", []byte(large), false, Properties{})
		for _, want := range []string{"x", large} {
			if _, got, _ := p.message(); got != want {
				t.Fatalf("burst %d: %d bytes came instead of %d", i, len(got), len(want))
			}
		}
	}
	for range batch { // small ones add up
		_ = s.Publish("small", []byte("x"), false, Properties{})
	}
	for range batch / 2 {
		p.message()
	}
}

// A client that sends its next request after each answer is not held back like a subscriber.
func TestWhoAsksIsNotHeldBack(t *testing.T) {
	s := start(t, Config{Coalesce: time.Hour})
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 0)
	for i := range 10 * burst {
		p.publish("x", 0, 0, fmt.Sprint(i))
		if _, got, _ := p.message(); got != fmt.Sprint(i) {
			t.Fatalf("question %d is answered with %s", i, got)
		}
	}
}

func TestWrittenBytesAreNotShared(t *testing.T) {
	s := start(t, Config{})
	a, b := join(t, s, hello{id: "a"}), join(t, s, hello{id: "b"})
	a.subscribe("x", 0)
	b.subscribe("x", 0)
	payload := bytes.Repeat([]byte{'x'}, 1000)
	want := string(payload)
	_ = s.Publish("x", payload, false, Properties{})
	clear(payload)
	for _, p := range []*peer{a, b} {
		if _, got, _ := p.message(); got != want {
			t.Error("payload changed on its way")
		}
	}
}
