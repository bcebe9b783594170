package uplinksparkplug_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinksparkplug"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/sparkplug"
	tlsv1 "gatewayd/schemas/tls/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// A host cannot refuse data; a broker can, by closing the connection.
func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinksparkplug.Kind, func(t *testing.T) uplinktest.Far {
		address := mosquitto.Run(t, "max_packet_size 20000")
		h := listen(t, address)
		return uplinktest.Far{
			Address: address,
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				cfg := &uplinkv1.UplinkSparkplug{Servers: []string{"tcp://" + address}, Group: "site", Names: true, Send: &uplinkv1.Sending{}}
				if files != nil {
					cfg.Servers, cfg.Tls = []string{"ssl://" + address}, files
				}
				return cfg
			},
			Got: h.items,
		}
	})
}

// host records the data of devices.
type host struct {
	mu  sync.Mutex
	all []uplinktest.Item
}

func listen(t *testing.T, address string) *host {
	t.Helper()
	h := &host{}
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	k, err := mqttclient.Dial(ctx, mqttclient.Config{URL: "tcp://" + address, Subscriptions: []mqttclient.Subscription{{Filter: "spBv1.0/site/#", QoS: 1, OnMessage: h.hear}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return h
}

func (h *host) hear(m mqttclient.Message) {
	where, _ := sparkplug.ParseTopic(m.Topic)
	p, err := sparkplug.Parse(m.Payload)
	if err != nil || where.Verb != sparkplug.DDATA {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, x := range p.Metrics {
		item := uplinktest.Item{Track: strings.ReplaceAll(where.Device, ".", "/"), Value: x.Value}
		h.all = append(h.all, item)
	}
}

func (h *host) items() []uplinktest.Item {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}
