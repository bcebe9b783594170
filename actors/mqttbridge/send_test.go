package mqttbridge_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbridge"
	"gatewayd/bus"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// miser is a broker that acknowledges only what the test says.
type miser struct {
	net.Listener
	took chan publication
	five bool // speaks MQTT 5, otherwise 3.1.1
}

// publication is a message published by a client.
type publication struct {
	text   string
	ack    func()
	refuse func(code byte) // with MQTT 5
	end    func()          // ends the connection
}

func newMiser(t *testing.T) *miser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &miser{Listener: l, took: make(chan publication, 1000)}
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
		n, err := binary.ReadUvarint(r) // MQTT lengths have the same encoding
		if err != nil {
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		switch head >> 4 {
		case 1:
			if m.five {
				say(0x20, 3, 0, 0, 0)
				continue
			}
			say(0x20, 2, 0, 0)
		case 3:
			topic := int(binary.BigEndian.Uint16(body))
			id := body[2+topic:][:2]
			_, text, _ := strings.Cut(string(body[4+topic:]), `"text":"`)
			text, _, _ = strings.Cut(text, `"`)
			m.took <- publication{
				text, func() { say(0x40, 2, id[0], id[1]) }, func(code byte) { say(0x40, 3, id[0], id[1], code) }, func() { conn.Close() },
			}
		case 12:
			say(0xd0, 0)
		}
	}
}

// Properties count towards the size of a batch, so that many messages with large properties can
// still be written.
func TestMessagesWithLargeProperties(t *testing.T) {
	const n = 40
	f := newFar(t, mosquitto.Anybody)
	s := newSite(t, &mqttv1.Bridge{
		Url: f.url(), MaxPayload: 1 << 20,
		Out: []*mqttv1.BridgeOut{{Topic: "data/#"}, {Topic: "#", LocalPrefix: "tele/"}},
	})
	s.connected()
	lines := sub(t, f.listen, "end", "x")
	s.Until("the broker hears", func() bool {
		pub(t, s.listen, "-t", "tele/end", "-m", "begin")
		return s.status().Sent > 0
	})
	client, err := mqttclient.Dial(t.Context(), mqttclient.Config{URL: "tcp://" + s.listen, Version: 5, ClientID: "large"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var all []<-chan error
	for i := range n {
		m := mqttclient.Message{Topic: "tele/x", Payload: fmt.Append(nil, i), QoS: 1}
		for range 2 {
			m.User = append(m.User, [2]string{"k", strings.Repeat("x", 60_000)})
		}
		word, err := client.Start(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, word)
	}
	for _, word := range all {
		if err := <-word; err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if got, want := actorstest.NextWhere(t, lines, func(s string) bool { return strings.HasPrefix(s, "x ") }), fmt.Sprint("x 0 ", i); got != want {
			t.Fatalf("%q came in place of %q", got, want)
		}
	}
	// The bus just accepts it and the disk does not.
	s.say(bus.Data, "points", strings.Repeat("x", 1<<20-250))
	s.Until("what no batch can hold is refused", func() bool { return s.status().Refused == 1 })
	pub(t, s.listen, "-t", "tele/end", "-m", "over")
	actorstest.NextWhere(t, lines, func(s string) bool { return s == "end 0 over" })
}

// Messages dropped first because the disk is full are counted when the rest is sent.
func TestWhatTheDiskHadNoRoomFor(t *testing.T) {
	m := newMiser(t)
	s := newSiteOn(t, actorstest.NewOn(t, bus.Config{MaxTracks: 1 << 20}), &mqttv1.Bridge{
		Url: "tcp://" + m.Addr().String(), Version: "3.1.1", InFlight: 1, Out: []*mqttv1.BridgeOut{{Topic: "data/#"}},
	})
	s.connected()
	const n = 60
	large := strings.Repeat("x", 50_000)
	for i := range n {
		s.say(bus.Data, "points", fmt.Sprintf("%d %s", i, large))
		s.Until("it is on disk", func() bool { return s.status().Buffered == 0 })
	}
	came, last := uint64(0), ""
	for !strings.HasPrefix(last, fmt.Sprint(n-1, " ")) {
		p := actorstest.Next(t, m.took)
		last = p.text
		came++
		p.ack()
	}
	if came == n {
		t.Fatal("there was room for all")
	}
	s.Until("all are counted", func() bool { m := s.status(); return m.Sent == came && m.Dropped == n-came })
}

func TestHowMuchIsReadAtOnce(t *testing.T) {
	for _, x := range []struct{ room, size, want int }{
		{256 << 10, 0, 4},
		{256 << 10, 100, 64},
		{256 << 10, 100 << 10, 2},
		{10, 100 << 10, 1},
	} {
		if got := mqttbridge.BatchesToRead(x.room, x.size); got != x.want {
			t.Errorf("%+v: %d batches", x, got)
		}
	}
}

// A message that the broker refuses for now is sent again and is not lost; those behind it pass.
func TestAQuotaThatIsExceeded(t *testing.T) {
	m := newMiser(t)
	m.five = true
	s := newSite(t, &mqttv1.Bridge{Url: "tcp://" + m.Addr().String(), Out: []*mqttv1.BridgeOut{{Topic: "data/#"}}})
	s.connected()
	s.say(bus.Data, "points", "a")
	first := actorstest.Next(t, m.took)
	s.say(bus.Data, "points", "b")
	second := actorstest.Next(t, m.took)
	second.ack()
	first.refuse(0x97)
	s.Until("it says so", func() bool {
		return s.bridge.State() == actors.Degraded && strings.Contains(s.bridge.Health().Cause, "quota")
	})
	again := actorstest.Next(t, m.took)
	if again.text != "a" {
		t.Fatalf("%q comes again", again.text)
	}
	again.ack()
	s.Until("both are sent", func() bool { st := s.status(); return st.Sent == 2 && st.Refused == 0 && st.Backlog == 0 })
	s.Until("all is well", func() bool { return s.bridge.State() == actors.OK })
	s.say(bus.Data, "points", "c")
	actorstest.Next(t, m.took).refuse(0x87)
	s.Until("what it will not take is passed over", func() bool { st := s.status(); return st.Refused == 1 && st.Backlog == 0 })
}

// Pauses do not grow for a broker that accepts a little each time.
func TestAQuotaThatIsRefilled(t *testing.T) {
	m := newMiser(t)
	m.five = true
	s := newSite(t, &mqttv1.Bridge{Url: "tcp://" + m.Addr().String(), Out: []*mqttv1.BridgeOut{{Topic: "data/#"}}})
	s.connected()
	var began time.Time
	for i := range 7 {
		began = time.Now()
		s.say(bus.Data, "points", fmt.Sprint(i))
		actorstest.Next(t, m.took).refuse(0x97)
		s.Until("it says so", func() bool { return s.bridge.State() == actors.Degraded })
		actorstest.Next(t, m.took).ack()
		s.Until("it is sent", func() bool { st := s.status(); return st.Sent == uint64(i+1) && st.Backlog == 0 })
	}
	// After seven pauses without progress it would be 30 s at least.
	if d := time.Since(began); d > 25*time.Second {
		t.Errorf("the last pause was %s", d)
	}
}

// A message that expires while the broker refuses it is no longer reported as refused.
func TestARefusalThatIsOver(t *testing.T) {
	m := newMiser(t)
	m.five = true
	s := newSite(t, &mqttv1.Bridge{Url: "tcp://" + m.Addr().String(), Out: []*mqttv1.BridgeOut{{Topic: "#", LocalPrefix: "tele/"}}})
	s.connected()
	client, err := mqttclient.Dial(t.Context(), mqttclient.Config{URL: "tcp://" + s.listen, Version: 5, ClientID: "short"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var p publication
	s.Until("the broker hears", func() bool {
		if err := client.Publish(t.Context(), mqttclient.Message{Topic: "tele/x", Payload: []byte("x"), QoS: 1, Expiry: 2 * time.Second}); err != nil {
			t.Fatal(err)
		}
		select {
		case p = <-m.took:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	s.Until("it is refused", func() bool {
		p.refuse(0x97)
		return s.bridge.State() == actors.Degraded
	})
	s.Until("it expires", func() bool {
		select {
		case p := <-m.took:
			p.refuse(0x97)
		default:
		}
		return s.status().Expired > 0
	})
	s.Until("all is well", func() bool { return s.bridge.State() == actors.OK })
}

// A broker that ends each connection because of what it is sent is not contacted again without a
// pause.
func TestConnectionsThatAreLostSoon(t *testing.T) {
	m := newMiser(t)
	s := newSite(t, &mqttv1.Bridge{Url: "tcp://" + m.Addr().String(), Version: "3.1.1", Out: []*mqttv1.BridgeOut{{Topic: "data/#"}}})
	s.connected()
	s.say(bus.Data, "points", "x")
	began := time.Now()
	for range 7 {
		actorstest.Next(t, m.took).end()
	}
	// The pauses before the last five add up to at least 1.25 s.
	if d := time.Since(began); d < time.Second {
		t.Errorf("seven times within %s", d)
	}
	p := actorstest.Next(t, m.took)
	p.ack()
	s.Until("it is sent", func() bool { return s.status().Sent == 1 })
}

// A small window too has room for messages that do not come from disk.
func TestWhatIsVolatilePassesWhatWaits(t *testing.T) {
	m := newMiser(t)
	s := newSite(t, &mqttv1.Bridge{
		Url: "tcp://" + m.Addr().String(), Version: "3.1.1", InFlight: 2,
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

// site is a bridge to this broker, with that many messages published, each on disk before the next.
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

// Messages published one at a time become batches of their own, and yet none waits for the
// acknowledgement of the one before; acknowledged batches are released at once.
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
	// Its acknowledgement may have been lost.
	if want := []string{"4", "6", "7", "8", "9"}; !slices.Equal(again, want) && !slices.Equal(again[:2], []string{"4", "5"}) {
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

// A broker that stays connected and acknowledges nothing is given up, like a silent one.
func TestABrokerThatAcknowledgesNothing(t *testing.T) {
	m := newMiser(t)
	s := m.site(t, 1)
	actorstest.Next(t, m.took)
	actorstest.Next(t, m.took).ack() // of the next connection
	s.Until("it has it", func() bool { return s.status().Backlog == 0 })
	if cause := s.status().State.Cause; !strings.Contains(cause, "has not acknowledged any") {
		t.Error(cause)
	}
}

// What was read ahead does not stay in memory while nothing can be sent: it is read again.
func TestWhatIsReadAheadIsGivenBack(t *testing.T) {
	const n, acked = 40, 6
	m := newMiser(t)
	s := m.site(t, 0)
	large := strings.Repeat("x", 20<<10) // more wait than the queue takes
	for i := range n {
		s.say(bus.Data, "points", large)
		s.Until("it is on disk", func() bool { m := s.status(); return m.Buffered == 0 && m.Backlog > uint64(i) })
	}
	for range acked {
		p := actorstest.Next(t, m.took)
		p.ack()
	}
	s.Until("all are read", func() bool { return s.status().Backlog == n-acked && s.delivered() == n })
	last := actorstest.Next(t, m.took)
	last.end()
	s.Until("all has come", func() bool {
		select {
		case p := <-m.took:
			p.ack()
		default:
		}
		return s.status().Backlog == 0
	})
	if got := s.delivered(); got > n-acked {
		t.Errorf("%d batches were read since the place was put back, want %d at most", got, n-acked)
	}
}

// delivered is how many batches the store has given out since the bridge's place was put back.
func (s *site) delivered() (n int) {
	s.t.Helper()
	_, answer, err := s.Bus.CallRaw(context.Background(), "$JS.API.CONSUMER.INFO.TRACKS."+strings.ReplaceAll(bridgePath, "/", "_"), "", nil)
	var info struct {
		Delivered struct {
			Seq int `json:"consumer_seq"`
		} `json:"delivered"`
	}
	if err == nil {
		err = json.Unmarshal(answer, &info)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Delivered.Seq
}
