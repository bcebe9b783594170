package mqttbridge_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// miser is a broker, by MQTT 3.1.1, that acknowledges what it is told to.
type miser struct {
	net.Listener
	took chan publication
}

// publication is what a client of it has published.
type publication struct {
	text string
	ack  func()
	end  func() // of the connection
}

func newMiser(t *testing.T) *miser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &miser{l, make(chan publication, 1000)}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go m.serve(conn)
		}
	})
	return m
}

func (m *miser) serve(conn net.Conn) {
	var mu sync.Mutex
	say := func(p ...byte) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = conn.Write(p)
	}
	r := bufio.NewReader(conn)
	for {
		head, err := r.ReadByte()
		if err != nil {
			return
		}
		n, err := binary.ReadUvarint(r) // MQTT's lengths are the same
		if err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch head >> 4 {
		case 1:
			say(0x20, 2, 0, 0)
		case 3:
			topic := int(binary.BigEndian.Uint16(body))
			id := body[2+topic:][:2]
			_, text, _ := strings.Cut(string(body[4+topic:]), `"text":"`)
			text, _, _ = strings.Cut(text, `"`)
			m.took <- publication{text, func() { say(0x40, 2, id[0], id[1]) }, func() { conn.Close() }}
		case 12:
			say(0xd0, 0)
		}
	}
}

// A small window as well has room for what does not come from disk.
func TestWhatIsVolatilePassesWhatWaits(t *testing.T) {
	m := newMiser(t)
	s := newSite(t, &mqttv1.Bridge{
		Url: "tcp://" + m.Addr().String(), Version: "3.1.1", Window: 2,
		Out: []*mqttv1.BridgeOut{{Topic: "data/#"}, {Topic: "event/#", Volatile: true}},
	})
	s.connected()
	for i, text := range []string{"a", "b", "c"} {
		s.say(bus.Data, "points", text)
		s.Until("it is on disk", func() bool { m := s.status(); return m.Buffered == 0 && m.Backlog > uint64(i) })
	}
	first := actorstest.Next(t, m.took)
	s.say(bus.Event, "now", "urgent")
	urgent := actorstest.Next(t, m.took)
	if first.text != "a" || urgent.text != "urgent" {
		t.Errorf("%q came, then %q", first.text, urgent.text)
	}
	for _, want := range []string{"b", "c"} {
		first.ack()
		if first = actorstest.Next(t, m.took); first.text != want {
			t.Errorf("%q came", first.text)
		}
	}
}

// site is one at it that has said so many words, each on disk before the next.
func (m *miser) site(t *testing.T, words int) *site {
	t.Helper()
	s := newSite(t, &mqttv1.Bridge{
		Url: "tcp://" + m.Addr().String(), Version: "3.1.1", KeepAlive: durationpb.New(1e9),
		Out: []*mqttv1.BridgeOut{{Topic: "data/#", RemotePrefix: "far/"}},
	})
	s.connected()
	for i := range words {
		s.say(bus.Data, "points", fmt.Sprint(i))
		s.Until("it is on disk", func() bool { m := s.status(); return m.Buffered == 0 && m.Backlog > uint64(i) })
	}
	return s
}

// Messages that come one by one are batches of their own, and yet each does not wait
// for the acknowledgement of the one before; what is acknowledged is given up at once.
func TestManyBatchesAreUnderWay(t *testing.T) {
	m := newMiser(t)
	s := m.site(t, 10)
	var all []publication
	for range 10 {
		all = append(all, actorstest.Next(t, m.took))
	}
	for _, p := range all[:4] {
		p.ack()
	}
	s.Until("four are given up on disk", func() bool { return s.status().Backlog == 6 })
	all[5].ack()
	all[7].end()
	again := []string{}
	for range 5 {
		p := actorstest.Next(t, m.took)
		again = append(again, p.text)
		p.ack()
	}
	if want := []string{"4", "6", "7", "8", "9"}; !slices.Equal(again, want) && !slices.Equal(again[:2], []string{"4", "5"}) { // its word may have been lost
		t.Errorf("%q came again", again)
	}
	if slices.Contains(again, "5") {
		actorstest.Next(t, m.took).ack()
	}
	s.Until("all are given up", func() bool { return s.status().Backlog == 0 })
	if st := s.status(); st.Sent != 10 {
		t.Errorf("%d of 10 have been sent", st.Sent)
	}
}

// A broker that is alive and acknowledges nothing is given up, like one that is silent.
func TestABrokerThatAcknowledgesNothing(t *testing.T) {
	m := newMiser(t)
	s := m.site(t, 1)
	actorstest.Next(t, m.took)
	actorstest.Next(t, m.took).ack() // of the connection after it
	s.Until("it has it", func() bool { return s.status().Backlog == 0 })
	if cause := s.status().State.Cause; !strings.Contains(cause, "acknowledged none") {
		t.Error(cause)
	}
}
