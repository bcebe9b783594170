package bus_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"gatewayd/bus"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func TestCatalogue(t *testing.T) {
	b, keys := listening(t, nil)
	services := []bus.Service{
		{
			Name: "modbus-unit", ID: "field/line-1/meter-7", Version: "1.2.3", Description: "a unit on a line", Started: time.Unix(1_700_000_000, 0),
			Metadata: map[string]string{"path": "field/line-1/meter-7"},
			Endpoints: []bus.Endpoint{{
				Name: "ReadRegisters", Subject: "gw.demo.cmd.field.line-1.meter-7.ReadRegisters", Metadata: map[string]string{"request": "modbus.v1.ReadRequest"},
				Stats: bus.EndpointStats{Requests: 4, Errors: 1, LastError: "no answer", Time: 8 * time.Millisecond},
			}},
		},
		{Name: "modbus-unit", ID: "field/line-1/meter-8", Version: "1.2.3"},
		{Name: "radio", ID: "radio/wlan0", Version: "0.1.0"},
	}
	stop, err := b.ServeCatalogue(func() iter.Seq[bus.Service] { return slices.Values(services) })
	if err != nil {
		t.Fatal(err)
	}
	nc, _ := outside(t, b, keys, bus.Observer)
	// The protocol has no end marker; a later request is answered after all earlier ones.
	ask := func(verb micro.Verb, name, id string) (all [][]byte) {
		t.Helper()
		subject, err := micro.ControlSubject(verb, name, id)
		if err != nil {
			t.Fatal(err)
		}
		inbox := nats.NewInbox()
		sub, err := nc.SubscribeSync(inbox + ".*")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := nc.PublishRequest(subject, inbox+".answer", nil); err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest("$SRV.PING.radio.radio/wlan0", inbox+".end", nil); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := sub.NextMsgWithContext(within(t))
			if errors.Is(err, nats.ErrNoResponders) {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Subject == inbox+".end" {
				return all
			}
			all = append(all, m.Data)
		}
	}
	strict := func(p []byte, v any) {
		t.Helper()
		d := json.NewDecoder(bytes.NewReader(p))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			t.Fatalf("%s: %v", p, err)
		}
	}
	for _, tc := range []struct {
		name, id string
		want     int
	}{{"", "", 3}, {"modbus-unit", "", 2}, {"modbus-unit", "field/line-1/meter-8", 1}, {"radio", "field/line-1/meter-8", 0}, {"nothing", "", 0}} {
		got := ask(micro.PingVerb, tc.name, tc.id)
		if len(got) != tc.want {
			t.Errorf("%+v: %d", tc, len(got))
		}
		for _, p := range got {
			var ping micro.Ping
			if strict(p, &ping); ping.Type != micro.PingResponseType || ping.Metadata == nil {
				t.Errorf("%s", p)
			}
		}
	}
	var info micro.Info
	strict(ask(micro.InfoVerb, "modbus-unit", "field/line-1/meter-7")[0], &info)
	if info.Type != micro.InfoResponseType || info.Description != "a unit on a line" || len(info.Endpoints) != 1 ||
		info.Endpoints[0].Name != "ReadRegisters" || info.Endpoints[0].Metadata["request"] != "modbus.v1.ReadRequest" || info.Metadata["path"] != info.ID {
		t.Errorf("%+v", info)
	}
	var stats micro.Stats
	strict(ask(micro.StatsVerb, "modbus-unit", "field/line-1/meter-7")[0], &stats)
	if e := stats.Endpoints[0]; stats.Type != micro.StatsResponseType || e.NumRequests != 4 || e.NumErrors != 1 || e.AverageProcessingTime != 2*time.Millisecond || !stats.Started.Equal(services[0].Started) {
		t.Errorf("%+v", stats)
	}
	stop()
	if err := b.Conn().Flush(within(t)); err != nil { // the server knows
		t.Fatal(err)
	}
	if got := ask(micro.PingVerb, "", ""); len(got) != 0 {
		t.Errorf("%d answers after stop", len(got))
	}
}
