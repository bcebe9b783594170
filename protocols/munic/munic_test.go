package munic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// platform receives an asset's messages, as leaf and payload.
type platform struct {
	*mqttclient.Client
	heard chan mqttclient.Message
}

func newPlatform(t *testing.T, url string) *platform {
	t.Helper()
	p := &platform{heard: make(chan mqttclient.Message, 100)}
	var err error
	p.Client, err = mqttclient.Dial(soon(t), mqttclient.Config{URL: url, ClientID: "platform", Subscriptions: []mqttclient.Subscription{
		{Filter: "munic/municio/asset-1/+", QoS: 1, Kept: true, OnMessage: func(m mqttclient.Message) { p.heard <- m }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// next returns the next message and its events.
func (p *platform) next(t *testing.T, leaf string) []map[string]any {
	t.Helper()
	select {
	case m := <-p.heard:
		if m.Topic != "munic/municio/asset-1/"+leaf {
			t.Fatalf("%s %s", m.Topic, m.Payload)
		}
		var all []struct {
			Meta    meta           `json:"meta"`
			Payload map[string]any `json:"payload"`
		}
		if err := json.Unmarshal(m.Payload, &all); err != nil {
			t.Fatal(err)
		}
		var payloads []map[string]any
		for _, e := range all {
			if e.Meta != (meta{"municio", leaf}) {
				t.Errorf("%+v", e.Meta)
			}
			payloads = append(payloads, e.Payload)
		}
		return payloads
	case <-time.After(patience):
		t.Fatalf("no %s comes", leaf)
		return nil
	}
}

func (p *platform) say(t *testing.T, leaf, payload string) {
	t.Helper()
	if err := p.Publish(soon(t), mqttclient.Message{Topic: "munic/municio/asset-1/" + leaf, Payload: []byte(payload), QoS: 1}); err != nil {
		t.Fatal(err)
	}
}

func config(url string) Config {
	return Config{
		Broker:   mqttclient.Config{URL: url, ClientID: "asset-1"},
		Form:     Form{Account: "municio", Asset: "asset-1", Latitude: "lat", Longitude: "lon"},
		Channels: map[string]string{"com.example.pump": "field/plc/mixer/WriteRegisters"},
	}
}

func dial(t *testing.T, s *Session, hear uplink.Callbacks) uplink.Sender {
	t.Helper()
	x, err := s.Dial(soon(t), hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

var epoch = time.Date(2014, 5, 22, 14, 18, 57, 250_000_000, time.UTC)

func rec(sequence uint64, fields ...record.Field) record.Record {
	return record.Record{Track: "tracks/van", Number: 3, Sequence: sequence, Time: epoch.Add(time.Duration(sequence) * time.Second), Fields: fields}
}

// The public examples: 4619 is AAASCw== and 15902 AAA+Hg==.
func TestValues(t *testing.T) {
	for _, c := range []struct {
		v    record.Value
		want string
	}{
		{int64(4619), "AAASCw=="}, {uint64(15902), "AAA+Hg=="}, {int64(-1), "/////w=="}, {true, "AQ=="}, {false, "AA=="}, {"A", "QQ=="}, {"", ""},
		{1.0, "AAAAAAAA8D8="}, {int64(1 << 40), "AAAAAAAAcEI="}, {uint64(1 << 31), "AAAAAAAA4EE="}, {[]byte{0, 255}, "AP8="},
	} {
		if got := base64.StdEncoding.EncodeToString(encode(c.v)); got != c.want {
			t.Errorf("%v: %s", c.v, got)
		}
	}
	if encode(nil) != nil {
		t.Error("a value of nothing")
	}
}

func TestEvents(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url)
	s := NewSession(config(url))
	x := dial(t, s, uplink.Callbacks{})
	if got := p.next(t, "presence")[0]; got["type"] != "connect" || got["asset"] != "asset-1" || got["id_str"] == "" {
		t.Errorf("%v", got)
	}
	absent := rec(3)
	absent.Absent, absent.Cause = true, "timeout"
	batch := []record.Record{
		rec(1, record.Field{Name: "gps-speed", Value: int64(4619)}, record.Field{Name: "lat", Value: 48.83487}, record.Field{Name: "lon", Value: 2.34793}, record.Field{Name: "old", Value: true, Quality: "stale"}),
		rec(2, record.Field{Name: "dio-ignition", Value: true}), absent, rec(4),
	}
	if err := x.Send(soon(t), batch); err != nil {
		t.Fatal(err)
	}
	tracks := p.next(t, "track")
	if len(tracks) != 2 {
		t.Fatalf("%v", tracks)
	}
	one, two := tracks[0], tracks[1]
	if fmt.Sprint(one["loc"]) != "[2.34793 48.83487]" || fmt.Sprint(one["fields"]) != "map[GPS_SPEED:map[b64_value:AAASCw==]]" ||
		one["recorded_at"] != "2014-05-22T14:18:58Z" || one["recorded_at_ms"] != "2014-05-22T14:18:58.250Z" || one["index"] != 1.0 {
		t.Errorf("%v", one)
	}
	if two["loc"] != nil || fmt.Sprint(two["fields"]) != "map[DIO_IGNITION:map[b64_value:AQ==]]" || two["id_str"].(string) <= one["id_str"].(string) {
		t.Errorf("%v", two)
	}
	if got := p.next(t, "poke")[0]; got["namespace"] != "track::absent" || got["sender"] != "gatewayd" {
		t.Errorf("%v", got)
	}
	if got := p.next(t, "track")[0]; got["index"] != 4.0 {
		t.Errorf("%v", got)
	}
	// Sent again, it is the same event.
	if err := x.Send(soon(t), batch[:1]); err != nil {
		t.Fatal(err)
	}
	if got := p.next(t, "track")[0]; got["id_str"] != one["id_str"] {
		t.Errorf("%v and %v", got["id_str"], one["id_str"])
	}
	_ = x.Close()
	if got := p.next(t, "presence")[0]; got["type"] != "disconnect" || got["reason"] != "closed" {
		t.Errorf("%v", got)
	}
	dial(t, s, uplink.Callbacks{})
	if got := p.next(t, "presence")[0]; got["type"] != "reconnect" {
		t.Errorf("%v", got)
	}
}

// If an asset disconnects without DISCONNECT, the broker publishes that it is gone.
func TestGone(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url)
	cfg := config(url)
	var conn net.Conn
	cfg.Broker.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return conn, err
	}
	lost := make(chan error, 1)
	dial(t, NewSession(cfg), uplink.Callbacks{Lost: func(err error) { lost <- err }})
	p.next(t, "presence")
	conn.Close()
	if got := p.next(t, "presence")[0]; got["type"] != "disconnect" || got["reason"] != "network_activity_timeout" {
		t.Errorf("%v", got)
	}
	<-lost
}

func TestPlatformAcknowledges(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url)
	cfg := config(url)
	cfg.Platform = true
	x := dial(t, NewSession(cfg), uplink.Callbacks{})
	p.next(t, "presence")
	done := make(chan error, 1)
	go func() { done <- x.Send(soon(t), []record.Record{rec(1), rec(2), rec(3)}) }()
	all := p.next(t, "track")
	p.say(t, "ack", fmt.Sprintf(`[{"id_str":%q,"status":"ok"},{"id_str":%q,"status":"error","reason":"no such field"},{"id_str":"1","status":"ok"}]`, all[0]["id_str"], all[1]["id_str"]))
	p.next2(t, "ack")
	select {
	case err := <-done:
		t.Fatalf("acknowledged too early: %v", err)
	default:
	}
	p.say(t, "ack", fmt.Sprintf(`{"id_str":%q,"status":"ok"}`, all[2]["id_str"]))
	var rejected *uplink.RejectedError
	if err := <-done; !errors.As(err, &rejected) || !rejected.Taken || len(rejected.Records) != 1 || rejected.Records[0].Index != 1 || !strings.Contains(rejected.Records[0].Why, "no such field") {
		t.Errorf("%v", err)
	}
	p.next2(t, "ack")
	ctx, cancel := context.WithTimeout(soon(t), 200*time.Millisecond)
	defer cancel()
	if err := x.Send(ctx, []record.Record{rec(4)}); err == nil {
		t.Error("acknowledged by nobody")
	}
}

// next2 skips the platform's own message, which it receives too.
func (p *platform) next2(t *testing.T, leaf string) {
	t.Helper()
	if m := <-p.heard; m.Topic != "munic/municio/asset-1/"+leaf {
		t.Fatalf("%s", m.Topic)
	}
}

func TestCollections(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url)
	cfg := config(url)
	cfg.Form.Collection, cfg.Platform = "trip", true
	x := dial(t, NewSession(cfg), uplink.Callbacks{})
	p.next(t, "presence")
	done := make(chan error, 1)
	go func() { done <- x.Send(soon(t), []record.Record{rec(1), rec(2)}) }()
	got := p.next(t, "collection")[0]
	if got["name"] != "trip" || got["start_at"] != "2014-05-22T14:18:58Z" || got["stop_at"] != "2014-05-22T14:18:59Z" || len(got["data"].([]any)) != 2 {
		t.Errorf("%v", got)
	}
	p.say(t, "ack", fmt.Sprintf(`{"id_str":%q,"status":"ok"}`, got["id_str"]))
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMessages(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	p := newPlatform(t, url)
	heard := make(chan uplink.Command, 10)
	dial(t, NewSession(config(url)), uplink.Callbacks{Command: func(c uplink.Command) { heard <- c }})
	p.next(t, "presence")
	ask := `[{"meta":{"account":"municio","event":"message"},"payload":{"id":5,"id_str":"5","thread_id":"t","sender":"@@server@@","type":"message","channel":"com.example.pump","b64_payload":"` +
		base64.StdEncoding.EncodeToString([]byte(`{"address":1}`)) + `"}}]`
	p.say(t, "message/down", ask)
	c := <-heard
	if c.Actor != "field/plc/mixer" || c.Method != "WriteRegisters" || string(c.Payload) != `{"address":1}` {
		t.Errorf("%+v", c)
	}
	p.say(t, "message/down", ask) // again, while it runs
	c.Answer([]byte(`{"done":true}`), nil)
	answer := p.next(t, "message")[0]
	if answer["type"] != "ack" || answer["parent_id"] != "5" || answer["thread_id"] != "t" || answer["recipient"] != "@@server@@" || answer["b64_payload"] != base64.StdEncoding.EncodeToString([]byte(`{"done":true}`)) {
		t.Errorf("%v", answer)
	}
	p.say(t, "message/down", ask) // again, when it is done
	if again := p.next(t, "message")[0]; again["id_str"] != answer["id_str"] {
		t.Errorf("%v", again)
	}
	p.say(t, "message/down", `{"id":6,"channel":"nowhere","b64_payload":""}`)
	got := p.next(t, "message")[0]
	for got["id_str"] == answer["id_str"] { // the repeated one may have been read later
		got = p.next(t, "message")[0]
	}
	if got["type"] != "error" || got["parent_id"] != "6" {
		t.Errorf("%v", got)
	}
	if len(heard) != 0 {
		t.Errorf("%+v", <-heard)
	}
}

func FuzzDowns(f *testing.F) {
	f.Add([]byte(`[{"meta":{"account":"a","event":"message"},"payload":{"id":5,"channel":"c","b64_payload":""}}]`))
	f.Add([]byte(`{"id_str":"6"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := downs(b)
		for _, d := range all {
			if err != nil || d.id() == "" {
				t.Errorf("%s: %+v %v", b, d, err)
			}
		}
		_ = acks(b)
	})
}
