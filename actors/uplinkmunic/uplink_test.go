package uplinkmunic_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmunic"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/platform"

func TestConforms(t *testing.T) {
	actorstest.Conform(t, uplinkmunic.Kind, &uplinkv1.UplinkMunic{Url: "tcp://127.0.0.1:1", Account: "a", Asset: "b"})
}

// platform acknowledges all tracks but those of one index, and records them and the messages.
type platform struct {
	client *mqttclient.Client
	events chan mqttclient.Message

	mu       sync.Mutex
	tracks   []float64 // indexes
	fields   []uplinktest.Item
	messages []string // payloads
}

func newPlatform(t *testing.T, url string, bad float64) *platform {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := &platform{events: make(chan mqttclient.Message, 100)}
	var err error
	p.client, err = mqttclient.Dial(ctx, mqttclient.Config{URL: url, ClientID: "platform", Subscriptions: []mqttclient.Subscription{
		{Filter: "munic/a/b/track", QoS: 1, OnMessage: func(m mqttclient.Message) { p.events <- m }},
		{Filter: "munic/a/b/message", QoS: 1, OnMessage: func(m mqttclient.Message) { p.events <- m }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case m := <-p.events:
				p.take(m, bad)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done); _ = p.client.Close() })
	return p
}

func (p *platform) take(m mqttclient.Message, bad float64) {
	var all []struct {
		Payload struct {
			ID      string  `json:"id_str"`
			Index   float64 `json:"index"`
			Base64  string  `json:"b64_payload"`
			Channel string  `json:"channel"`
			Fields  map[string]struct {
				Base64 []byte `json:"b64_value"`
			} `json:"fields"`
		} `json:"payload"`
	}
	_ = json.Unmarshal(m.Payload, &all)
	p.mu.Lock()
	defer p.mu.Unlock()
	var acks []map[string]string
	for _, e := range all {
		if e.Payload.Channel != "" {
			text, _ := base64.StdEncoding.DecodeString(e.Payload.Base64)
			p.messages = append(p.messages, string(text))
			continue
		}
		ack := map[string]string{"id_str": e.Payload.ID, "status": "ok"}
		if e.Payload.Index == bad || strings.HasPrefix(string(e.Payload.Fields["U"].Base64), uplinktest.Poison) {
			ack = map[string]string{"id_str": e.Payload.ID, "status": "error", "reason": "no such field"}
		} else {
			p.tracks = append(p.tracks, e.Payload.Index)
			p.note(e.Payload.Fields["N"].Base64, e.Payload.Fields["U"].Base64)
		}
		acks = append(acks, ack)
	}
	b, _ := json.Marshal(acks)
	_ = p.client.Post(mqttclient.Message{Topic: "munic/a/b/ack", Payload: b, QoS: 1}, nil)
}

// note records a number and a text of a record.
func (p *platform) note(number, text []byte) {
	if len(number) == 8 && len(text) > 0 {
		n := math.Float64frombits(binary.LittleEndian.Uint64(number))
		p.fields = append(p.fields, uplinktest.Item{Value: n}, uplinktest.Item{Value: string(text)})
	}
}

func (p *platform) values() []uplinktest.Item {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.fields)
}

func (p *platform) heard() ([]float64, []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]float64{}, p.tracks...), append([]string{}, p.messages...)
}

func config(url string) *uplinkv1.UplinkMunic {
	return &uplinkv1.UplinkMunic{
		Url: url, Account: "a", Asset: "b", Ack: "platform",
		Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(10 * time.Millisecond)},
	}
}

// write stores a chunk of n records of one track.
func write(t *testing.T, r *actorstest.Rig, track string, n uint64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: track, Number: 1, First: 1, Count: n, Boot: "boot"}, func(s uint64) []record.Field {
		return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s)}}
	})
}

func TestThePlatformAcknowledges(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url, 7)
	r := actorstest.New(t)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	write(t, r, "tracks/a", 250)
	r.Start(path, uplinkmunic.Kind, config(url))
	if got := actorstest.Next(t, rejected); got.Record != "tracks/a 7" || !strings.Contains(got.Why, "no such field") {
		t.Errorf("%v", got)
	}
	r.Until("nothing is left", func() bool {
		m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
		return err == nil && m.Status.Begun && m.Status.Backlog.Records == 0 && m.Status.Counts.Rejected == 1 && m.Status.Counts.Acknowledged == 249
	})
	tracks, _ := p.heard()
	if len(tracks) != 249 || tracks[0] != 1 || tracks[248] != 250 {
		t.Errorf("%v", tracks)
	}
}

func TestMessages(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url, 0)
	r := actorstest.New(t)
	cfg := config(url)
	cfg.Channels = []*uplinkv1.MunicChannel{{Name: "how", Call: "cmd/" + path + "/Status"}, {Name: "off", Call: "cmd/" + path + "/Restart"}}
	cfg.Commands = &uplinkv1.Commands{Allow: []string{"cmd/" + path + "/Status"}, Timeout: durationpb.New(10 * time.Second)}
	cell := r.Start(path, uplinkmunic.Kind, cfg)
	r.Until("it is there", func() bool {
		m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
		return err == nil && m.Status.Connected != nil
	})
	for i, channel := range []string{"how", "off"} {
		if err := p.client.Post(mqttclient.Message{Topic: "munic/a/b/message/down", Payload: fmt.Appendf(nil, `{"id_str":"%d","channel":%q,"b64_payload":""}`, i, channel), QoS: 1}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var messages []string
	r.Until("both are answered", func() bool { _, messages = p.heard(); return len(messages) == 2 })
	text := strings.Join(messages, "\n")
	if !strings.Contains(text, `"status"`) || !strings.Contains(text, "not among the commands") || cell.Life() != 1 {
		t.Errorf("%s", text)
	}
}
