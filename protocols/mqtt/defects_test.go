package mqtt

import (
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

// saying is a hook with a fixed answer to every permission check.
type saying struct {
	mochi.HookBase
	name string
	yes  bool
}

func (h *saying) ID() string                                  { return h.name }
func (h *saying) Provides(b byte) bool                        { return b == mochi.OnACLCheck }
func (h *saying) OnACLCheck(*mochi.Client, string, bool) bool { return h.yes }

// The library accepts the yes of any hook, whatever the others say (M5).
func TestProbeAnyYesOverrulesEveryNo(t *testing.T) {
	s := bare(t, &saying{name: "no"})
	p := join(t, s, hello{id: "p"})
	expectDefect(t, p.subscribe("secret", 0) == 0, "a no of one hook is overruled by another hook")
}

// There is only one hook, so that a no is final (M5).
func TestOneNoIsEnough(t *testing.T) {
	s := start(t, Config{Authorize: func(_ ClientInfo, topic string, _ bool) bool { return topic != "secret" }})
	p := join(t, s, hello{id: "p"})
	if code := p.subscribe("secret", 0); code < 0x80 {
		t.Errorf("granted with %#x", code)
	}
	if code := p.subscribe("open", 0); code >= 0x80 {
		t.Errorf("refused with %#x", code)
	}
}

// A publisher gets its acknowledgement when the subscribers have the message and the handler of
// commands has accepted it; the library sends it before (M26).
func TestAcknowledgementComesLast(t *testing.T) {
	var taken atomic.Bool
	s := start(t, Config{OnPublish: func(ClientInfo, Publish) error { taken.Store(true); return nil }})
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 0)
	p.publish("x", 1, 1, "mine")
	if topic, _, _ := p.message(); topic != "x" {
		t.Errorf("got %q", topic)
	}
	p.want(0x40)
	p.publish("cmd/a/B", 1, 2, "")
	p.want(0x40)
	if !taken.Load() {
		t.Error("acknowledged before it was taken")
	}
}

func TestProbeAcknowledgementComesFirst(t *testing.T) {
	s := bare(t)
	p := join(t, s, hello{id: "p"})
	p.subscribe("x", 0)
	p.publish("x", 1, 1, "mine")
	typ, _ := p.next()
	expectDefect(t, typ == 0x40, "a publish is acknowledged before it is delivered")
}

// In the library retained messages expire after a day of the wall clock, all at once when it steps
// (M27).
func TestRetainedMessagesHaveNoEnd(t *testing.T) {
	s := start(t, Config{})
	p := join(t, s, hello{id: "p"})
	p.send(frame(0x31, text("said/by/client"), []byte("x")))
	p.sync()
	if err := s.Publish("state/x", []byte("x"), true, Properties{}); err != nil {
		t.Fatal(err)
	}
	if gone := s.kept.purge(time.Now().AddDate(100, 0, 0)); len(gone) > 0 {
		t.Errorf("%v end by themselves", gone)
	}
	if most := s.broker.Options.Capabilities.MaximumMessageExpiryInterval; most != 0 {
		t.Errorf("the library ends messages after %d s", most)
	}
}
