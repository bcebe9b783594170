package bus_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
)

// A client that may use everything of one gateway may use nothing of another, although both have
// joined a hub that permits them everything.
func TestGuestsReachNoOtherGateway(t *testing.T) {
	everything := bus.Grant{Publish: []string{">"}, Subscribe: []string{">"}}
	grants, keys := map[string]bus.Grant{}, map[string]string{}
	for _, id := range []string{"site-1", "site-2"} {
		file, public := seed(t)
		keys[id], grants[public] = file, everything
	}
	h := startHub(t, grants)
	house := &house{shown: make(chan bus.Presented, 16)}
	house.set(bus.Guest{Name: "ada", Allow: []string{"#"}})
	buses, served := map[string]*bus.Bus{}, map[string]*atomic.Int32{}
	for id, key := range keys {
		b, err := bus.Start(bus.Config{
			Gateway: id, Dir: filepath.Join(t.TempDir(), "bus"), Listen: "127.0.0.1:0", Guard: house.enter,
			Leaf: &bus.Leaf{URLs: h.urls(), Key: key, TLS: h.tls, Calls: []string{"cmd/#"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		n := &atomic.Int32{}
		if _, err := b.Conn().Subscribe("gw.*.cmd.>", func(m bus.Msg) { n.Add(1); _ = m.Respond(&structpb.Struct{}) }); err != nil {
			t.Fatal(err)
		}
		buses[id], served[id] = b, n
	}
	hub := h.client(2)
	heard := make(chan *nats.Msg, 1000)
	if _, err := hub.ChanSubscribe("gw.site-2.state.>", heard); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the hub calls both", func() bool {
		_, one := hub.Request("gw.site-1.cmd.field.x.Do", []byte("{}"), time.Second)
		_, two := hub.Request("gw.site-2.cmd.field.x.Do", []byte("{}"), time.Second)
		return one == nil && two == nil
	})

	ada, _ := guest(t, buses["site-1"], "ada")
	if _, err := ada.Request("gw.site-1.cmd.field.x.Do", []byte("{}"), patience); err != nil {
		t.Fatal(err)
	}
	overheard, err := ada.SubscribeSync("gw.site-2.>")
	if err == nil {
		err = ada.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	state, err := ada.SubscribeSync("gw.site-2.state.>")
	if err != nil {
		t.Fatal(err)
	}
	before := served["site-2"].Load()
	_, _ = ada.Request("gw.site-2.cmd.field.x.Do", []byte("{}"), 500*time.Millisecond) // if anybody answers here it is site-1
	waitFor(t, "the hub hears site-2", func() bool {                                   // by then ada would have received it as well
		_ = buses["site-2"].Conn().Publish("gw.site-2.state.field.x.leaf", &structpb.Struct{})
		return len(heard) > 0
	})
	if _, err := hub.Request("gw.site-1.cmd.field.x.Do", []byte("{}"), patience); err != nil {
		t.Fatal(err)
	}
	if err := ada.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	if n := served["site-2"].Load(); n != before {
		t.Errorf("site-2 was called %d times", n-before)
	}
	if m, err := state.NextMsg(time.Millisecond); err == nil {
		t.Errorf("ada hears %s", m.Subject)
	}
	if m, err := overheard.NextMsg(time.Millisecond); err == nil {
		t.Errorf("ada hears %s", m.Subject)
	}
}
