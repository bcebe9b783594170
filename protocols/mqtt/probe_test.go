package mqtt

import (
	"log/slog"
	"net"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// The probes expect the defects of the library that this package works around. A probe that fails
// after an upgrade means that its work-around (named in DESIGN.md) can be removed.

// bare starts the library without this package's additions.
func bare(t *testing.T, hooks ...mochi.Hook) *Server {
	t.Helper()
	b := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	for _, h := range append(hooks, new(allowing)) {
		if err := b.AddHook(h, nil); err != nil {
			t.Fatal(err)
		}
	}
	l := listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:0"})
	if err := b.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	nl := fixedAddr(l.Address())
	return &Server{broker: b, guard: &listener{open: []*entrance{{Listener: nl}}}}
}

// allowing admits every client.
type allowing struct{ mochi.HookBase }

func (*allowing) ID() string { return "allowing" }
func (*allowing) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*allowing) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*allowing) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

type fixedAddr string

func (a fixedAddr) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a fixedAddr) Close() error              { return nil }
func (a fixedAddr) Addr() net.Addr            { ap, _ := net.ResolveTCPAddr("tcp", string(a)); return ap }

func expectDefect(t *testing.T, present bool, what string) {
	t.Helper()
	if !present {
		t.Errorf("mochi %s: the defect is gone: %s. Remove the work-around and this probe", mochi.Version, what)
	}
}

func TestProbeTruncatedSubscribePanics(t *testing.T) {
	defer func() { expectDefect(t, recover() != nil, "a truncated SUBSCRIBE panics") }()
	pk := packets.Packet{ProtocolVersion: 5, FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Remaining: 5}}
	_ = pk.SubscribeDecode([]byte{0x30, 0x30, 0, 0, 0})
}

func TestProbeExpiryLeavesSubscriptions(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "dev", ver: 5, props: expiry(1)})
	p.subscribe("secret/1", 1)
	_ = p.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, there := s.broker.Clients.Get("dev"); !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the session does not expire")
		}
	}
	expectDefect(t, len(s.broker.Topics.Subscribers("secret/1").Subscriptions) > 0, "subscriptions outlive their session")
}

func TestProbeInboundIDDeletesOutboundMessage(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "valve", keep: true})
	p.subscribe("cmds", 1)
	_ = s.broker.Publish("cmds", []byte("open"), false, 1)
	_, _, id := p.message()
	p.publish("other", 1, id, "mine")
	p.want(0x40)
	p.sync()
	expectDefect(t, s.client(t, "valve").State.Inflight.Len() == 0, "a client's packet id deletes the broker's message")
}

func TestProbeStoredMessagesAreShuffled(t *testing.T) {
	in := mochi.NewInflights()
	const n = 200
	for i := range n {
		in.Set(packets.Packet{PacketID: uint16(i + 1), Created: 1})
	}
	sorted := true
	for i, pk := range in.GetAll(false) {
		sorted = sorted && pk.PacketID == uint16(i+1)
	}
	expectDefect(t, !sorted, "stored messages of one second come in random order")
}

// The library takes a read lock inside a read lock; a writer in between stops both for ever. The
// probe does not wait for the collision: it makes the writer wait while the outer lock is held, as
// the library's NextImmediate holds it.
func TestProbeNestedReadLock(t *testing.T) {
	in := mochi.NewInflights()
	in.RLock()
	writing := make(chan struct{})
	go func() { in.Set(packets.Packet{PacketID: 1}); close(writing) }()
	for in.TryRLock() { // until the waiting writer blocks new readers
		in.RUnlock()
	}
	inner := make(chan struct{})
	go func() { in.GetAll(true); close(inner) }()
	select {
	case <-inner:
		expectDefect(t, false, "GetAll takes a lock")
	case <-time.After(50 * time.Millisecond):
	}
	in.RUnlock()
	<-writing
	<-inner
}

// refusing is a hook that refuses every publish.
type refusing struct {
	mochi.HookBase
	err error
}

func (h *refusing) ID() string           { return "refusing" }
func (h *refusing) Provides(b byte) bool { return b == mochi.OnPublish }
func (h *refusing) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	return pk, h.err
}

func TestProbeRefusalOfQoS2IsAPuback(t *testing.T) {
	s := bare(t, &refusing{err: packets.ErrQuotaExceeded})
	p := join(t, s, hello{id: "p", ver: 5})
	p.publish("x", 2, 1, "")
	typ, _ := p.next()
	expectDefect(t, typ == 0x40, "QoS 2 is refused with PUBACK")
	old := join(t, s, hello{id: "old"})
	old.publish("x", 1, 1, "")
	typ, _ = old.next()
	expectDefect(t, typ == 0x40, "a refused 3.1.1 publish is acknowledged")
}

func TestProbeRepeatedQoS2IsRefused(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "p", ver: 5})
	p.publish("x", 2, 1, "")
	p.want(0x50)
	p.publish("x", 2, 1, "")
	b := p.want(0x50)
	expectDefect(t, len(b) > 2 && b[2] == reasonIDInUse, "a repeated QoS 2 publish gets 0x91")
}

func TestProbeSubscribeIDMeetsOutboundID(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "p", ver: 5})
	p.subscribe("cmds", 1)
	_ = s.broker.Publish("cmds", []byte("open"), false, 1)
	_, _, id := p.message()
	p.send(frame(0x82, []byte{byte(id >> 8), byte(id), 0}, text("more"), []byte{0}))
	b := p.want(0x90)
	expectDefect(t, b[len(b)-1] == reasonIDInUse, "SUBSCRIBE collides with an outbound id")
}

func TestProbeSecondClosePanics(t *testing.T) {
	b := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	_ = b.Serve()
	_ = b.Close()
	defer func() { expectDefect(t, recover() != nil, "a second Close panics") }()
	_ = b.Close()
}

func TestProbeKeepAliveOverflows(t *testing.T) {
	s := bare(t)
	p := dial(t, s)
	p.send(hello{id: "p", ver: 4, alive: 43691}.bytes())
	typ, _ := p.next()
	if typ == 0x20 {
		_, _ = p.Write([]byte{0xc0, 0})
		typ, _ = p.next()
	}
	expectDefect(t, typ == 0, "a keep alive of 43691 s is a timeout of none")
}

// The following two defects are not worked around: the README of mqtt-broker names them.

func TestProbeMultiLevelWildcardAfterPlusForgetsTheParent(t *testing.T) {
	x := mochi.NewTopicsIndex()
	x.Subscribe("p", packets.Subscription{Filter: "a/+/#"})
	expectDefect(t, len(x.Subscribers("a/b").Subscriptions) == 0, "a/+/# does not match a/b")
}

func TestProbeQueuedMessagesExpireByTheWallClock(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "p", ver: 5})
	p.sync()
	cl := s.client(t, "p")
	now := time.Now().Unix()
	cl.State.Inflight.Set(packets.Packet{PacketID: 9, ProtocolVersion: 5, Created: now, Expiry: now + 3600})
	expectDefect(t, len(cl.ClearExpiredInflights(now+7200, 0)) == 1, "a step of the clock expires queued messages")
}

// A client with more QoS 2 messages under way than allowed is disconnected, and may not learn why.
func TestProbeTooManyUnderWayEndTheClient(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p", ver: 5})
	most := int(s.broker.Options.Capabilities.ReceiveMaximum)
	var all []byte
	for i := range most + 1 {
		all = append(all, frame(0x34, text("x"), []byte{byte((i + 1) >> 8), byte(i + 1)}, props(5, nil))...)
	}
	go func() { _, _ = p.Write(all) }()
	for n := 0; ; n++ {
		typ, b := p.next()
		switch {
		case typ == 0 && n <= most, typ == 0xe0 && b[0] == 0x93:
			return
		case typ != 0x50 || n > most:
			t.Fatalf("packet %d: %#x % x", n, typ, b)
		}
	}
}
