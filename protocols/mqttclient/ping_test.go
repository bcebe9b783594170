package mqttclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
)

// When a ping is answered, the broker has accepted what was sent before with QoS 0: a message that
// another connection publishes afterwards comes behind it.
func TestPing(t *testing.T) {
	address := mosquitto.Run(t)
	versions(t, func(t *testing.T, version int) {
		got := make(chan mqttclient.Message, 1000)
		dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, ClientID: "hears", Subscriptions: []mqttclient.Subscription{
			{Filter: "p/#", QoS: 0, OnMessage: func(m mqttclient.Message) { got <- m }}}})
		a := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, ClientID: "a", KeepAlive: time.Second})
		b := dial(t, mqttclient.Config{URL: "tcp://" + address, Version: version, ClientID: "b"})
		for i := range 50 {
			for range 3 {
				if err := a.Publish(patient(t), mqttclient.Message{Topic: "p/a", Payload: make([]byte, 10_000)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Ping(patient(t)); err != nil {
				t.Fatal(err)
			}
			if err := b.Publish(patient(t), mqttclient.Message{Topic: "p/b", QoS: 1}); err != nil {
				t.Fatal(err)
			}
			for want := range 4 {
				if m := next(t, got); (m.Topic == "p/b") != (want == 3) {
					t.Fatalf("round %d: message %d is %s", i, want, m.Topic)
				}
			}
		}
	})
}

func TestManyPings(t *testing.T) {
	address := freeport.Address(t)
	stop := mosquitto.Start(t, address, mosquitto.Anybody)
	k := dial(t, mqttclient.Config{URL: "tcp://" + address, KeepAlive: time.Second})
	var all sync.WaitGroup
	var failed atomic.Int32
	for range 20 {
		all.Go(func() {
			for range 50 {
				if err := k.Ping(patient(t)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d failed", failed.Load())
	}
	stop()
	if err := k.Ping(patient(t)); !errors.Is(err, mqttclient.ErrLost) {
		t.Error(err)
	}
}

func TestPingOfAMuteBroker(t *testing.T) {
	k := dial(t, mqttclient.Config{URL: mute(t, 0x20, 2, 0, 0)})
	ctx, cancel := context.WithTimeout(patient(t), 20*time.Millisecond)
	defer cancel()
	if err := k.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(fmt.Sprint(err))
	}
}
