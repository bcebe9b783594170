package mqttbroker_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbroker"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/schemas"
	erraticv1 "gatewayd/schemas/erratic/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// counter answers Count with a stream, and Misbehave as the test says.
type counter func(c *actors.Context, how string)

func (f counter) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case *erraticv1.MisbehaveRequest:
		f(c, m.How)
	case *erraticv1.CountRequest:
		if m.To > 10 {
			c.Stream(&numbers{to: m.To})
			return nil
		}
		for i := range m.To {
			if err := c.Request().Send(&erraticv1.CountResponse{Number: i + 1}); err != nil {
				return err
			}
		}
		if m.To == 7 {
			c.Refuse(fmt.Errorf("seven is too much"))
			return nil
		}
		c.Reply(nil)
	}
	return nil
}

// numbers is a stream longer than all buffers on its way.
type numbers struct{ at, to uint32 }

func (n *numbers) Next(context.Context) (proto.Message, error) {
	if n.at == n.to {
		return nil, io.EOF
	}
	n.at++
	return &erraticv1.CountResponse{Number: n.at}, nil
}

func (n *numbers) Close() error { return nil }

func startCounter(r *actorstest.Rig, f counter) {
	k := actors.Define(actors.Kind{Name: "counter", Doc: "counts",
		Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return f })
	r.Start("field/plc", k, &structpb.Struct{})
}

func reply(c *actors.Context, how string) {
	switch how {
	case "error":
		c.Refuse(fmt.Errorf("not today"))
	case "hang":
		c.Take()
	default:
		c.Reply(&erraticv1.MisbehaveResponse{})
	}
}

// subscribed runs mosquitto_sub and returns once the broker has its subscription.
func subscribed(t *testing.T, addr string, args ...string) *program {
	t.Helper()
	p := mosquitto(t, "sub", addr, append(args, "-d")...)
	for !strings.Contains(p.next(), "Subscribed (mid") {
	}
	return p
}

// heard returns the next line that is not mosquitto's own output.
func heard(p *program) string {
	p.t.Helper()
	for {
		line := p.next()
		if !strings.HasPrefix(line, "Client ") && !strings.HasPrefix(line, "Subscribed") {
			return line
		}
	}
}

func TestShowsTheBus(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	old := subscribed(t, addr, "-V", "311", "-t", "data/field/#", "-F", "%t %r %p")
	now := subscribed(t, addr, "-V", "5", "-t", "data/field/#", "-t", "event/field/#", "-t", "state/field/#", "-F", "%t %r %C %p")
	say := func(class bus.Class, leaf, typ, payload string) {
		t.Helper()
		if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, class, "field/meter", leaf), typ, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	say(bus.Data, "points", bus.JSON, `{"a":  1}`) // forwarded unchanged, including the spaces
	say(bus.Data, "points", bus.Protobuf, "\x08\x01")
	if got, want := heard(old), `data/field/meter/points 0 {"a":  1}`; got != want {
		t.Errorf("3.1.1 hears %q, want %q", got, want)
	}
	for _, want := range []string{
		`data/field/meter/points 0 application/json {"a":  1}`,
		"data/field/meter/points 0 application/protobuf \x08\x01",
	} {
		if got := heard(now); got != want {
			t.Errorf("5 hears %q, want %q", got, want)
		}
	}
	say(bus.Event, "opened", bus.JSON, `{}`)
	if got, want := heard(now), "event/field/meter/opened 0 application/json {}"; got != want {
		t.Errorf("hears %q, want %q", got, want)
	}
	say(bus.State, "link", bus.JSON, `{"up":true}`)
	if got, want := heard(now), `state/field/meter/link 0 application/json {"up":true}`; got != want {
		t.Errorf("hears %q, want %q", got, want)
	}
	late := mosquitto(t, "sub", addr, "-V", "5", "-t", "state/field/meter/#", "-C", "1", "-F", "%t %r %C %p")
	if got, want := late.next(), `state/field/meter/link 1 application/json {"up":true}`; got != want {
		t.Errorf("a late comer hears %q, want %q", got, want)
	}
}

// Each call is one run of mosquitto_rr: subscribe to the answer, publish, print it.
func TestCallsFromMosquitto(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{CallTimeout: durationpb.New(3 * time.Second)})
	startCounter(r, reply)
	for _, tt := range []struct{ version, topic, answer, payload, want string }{
		{"311", "cmd/field/plc/Misbehave/42", "reply/me/42", `{"how":"panic"}`, `{}`},
		{"311", "cmd/field/plc/Misbehave", "reply/me/field/plc/Misbehave", `{"how":"panic"}`, `{}`},
		{"311", "cmd/field/plc/Misbehave/43", "reply/me/43", `{"how":"error"}`, `{"code":"failed_precondition","message":"not today"}`},
		{"311", "cmd/field/plc/Misbehave/44", "reply/me/44", `{"hou":"error"}`, `{"code":"invalid_argument","message":"MisbehaveRequest: unknown field \"hou\"`},
		{"311", "cmd/field/plc/Misbehave/45", "reply/me/45", `{"how":"hang"}`, `{"code":"deadline_exceeded","message":"no answer in time"}`},
		{"311", "cmd/field/plk/Misbehave/46", "reply/me/46", `{}`, `{"code":"not_found","message":"no actor has the path \"field/plk\"`},
		{"311", "cmd/field/plc/Misspell/47", "reply/me/47", `{}`, `{"code":"not_found","message":"field/plc has no method \"Misspell\"`},
		{"311", "cmd/Misbehave/48", "reply/me/Misbehave/48", `{}`, `{"code":"invalid_argument","message":"topic \"cmd/Misbehave/48\": actor name \"Misbehave\"`},
		{"311", "cmd/Misbehave", "reply/me/Misbehave", `{}`, `{"code":"invalid_argument","message":"topic \"cmd/Misbehave\": want cmd/PATH/METHOD"}`},
		{"311", "cmd/field/plc/Describe/A1", "reply/me/A1", `{}`, `{"entry":`},
		{"311", "cmd/field/plc/Misbehave.json/49", "reply/me/49", `{"how":"panic"}`, `{}`},
		{"311", "cmd/field/plc/Misbehave.pb/50", "reply/me/50", "\x0a\x05error", `{"code":"failed_precondition","message":"not today"}`},
		{"311", "cmd/field/plc/Misbehave.pb", "reply/me/field/plc/Misbehave.pb", "\x0a\x05error", `{"code":"failed_precondition","message":"not today"}`},
		{"5", "cmd/field/plc/Misbehave", "reply/me/any", `{"how":"panic"}`, `{}`},
		{"5", "cmd/field/plc/Misbehave", "reply/me/any", `{"how":"error"}`, `{"code":"failed_precondition","message":"not today"}`},
		{"5", "cmd/field/plk/Misbehave", "reply/me/any", `{}`, `{"code":"not_found","message":"no actor has the path \"field/plk\"`},
	} {
		got := mosquitto(t, "rr", addr, "-V", tt.version, "-i", "me", "-t", tt.topic, "-e", tt.answer, "-m", tt.payload, "-W", "20").next()
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s %s is answered with %q, want %q", tt.version, tt.topic, tt.payload, got, tt.want)
		}
	}
}

const pahoCalls = `
import sys, paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.packettypes import PacketTypes
todo = [
    ("field/plc/Misbehave", b'{"how":"panic"}', "application/json", 0),
    ("field/plc/Misbehave", b'{"how":"error"}', "application/json", 0),
    ("field/plc/Misbehave", b"\x0a\x05panic", "application/protobuf", 0),
    ("field/plc/Misbehave", b'{"how":"hang"}', "application/json", 1),
    ("field/plc/Count", b'{"to":3}', "application/json", 0),
    ("field/plc/Count", b'{"to":7}', "application/json", 0),
]
at = -1
def following(c):
    global at
    at += 1
    if at == len(todo):
        print("end", flush=True)
        c.disconnect()
        return
    topic, payload, typ, expiry = todo[at]
    p = Properties(PacketTypes.PUBLISH)
    p.ResponseTopic = "reply/paho/x"
    p.CorrelationData = b"n%d" % at
    p.ContentType = typ
    if expiry:
        p.MessageExpiryInterval = expiry
    c.publish("cmd/" + topic, payload, qos=1, properties=p)
def on_message(c, u, m):
    p = m.properties
    print(p.CorrelationData.decode(), getattr(p, "ContentType", "-"), [u for u in getattr(p, "UserProperty", []) if u[0] != "traceparent"], m.payload, flush=True)
    user = dict(getattr(p, "UserProperty", []))
    if "Count" not in todo[at][0] or "end" in user or "error" in user:
        following(c)
c = mqtt.Client(client_id="paho", protocol=mqtt.MQTTv5)
c.on_connect = lambda c, *a: c.subscribe("reply/paho/#", 1)
c.on_subscribe = lambda c, *a: following(c)
c.on_message = on_message
c.connect(sys.argv[1], int(sys.argv[2]))
c.loop_forever()
`

func TestCallsFromPaho(t *testing.T) {
	r := actorstest.New(t)
	// The message expiry is shorter.
	_, addr := start(t, r, &mqttv1.Broker{CallTimeout: durationpb.New(time.Minute)})
	startCounter(r, reply)
	p := python(t, addr, pahoCalls)
	for _, want := range []string{
		`n0 application/json [] b'{}'`,
		`n1 application/json [('error', 'failed_precondition')] b'{"code":"failed_precondition","message":`,
		`n2 application/protobuf [] b''`,
		`n3 application/json [('error', 'deadline_exceeded')] b'{"code":"deadline_exceeded","message":`,
		`n4 application/json [] b'{"number":1}'`,
		`n4 application/json [] b'{"number":2}'`,
		`n4 application/json [] b'{"number":3}'`,
		`n4 - [('end', 'true')] b''`,
		`n5 application/json [] b'{"number":1}'`,
	} {
		if got := p.next(); !strings.HasPrefix(got, want) {
			t.Errorf("paho prints %q, want %q", got, want)
		}
	}
	for line := p.next(); line != "end"; line = p.next() {
		if strings.Contains(line, "error") && !strings.Contains(line, "seven is too much") {
			t.Errorf("the stream ends with %q", line)
		}
	}
}

func TestCallsSwitchedOff(t *testing.T) {
	r := actorstest.New(t)
	called := make(chan struct{}, 1)
	startCounter(r, func(*actors.Context, string) { called <- struct{}{} })
	cfg := &mqttv1.Broker{Listen: freeport.Address(t)}
	schemas.Defaults(cfg)
	cfg.Commands = false
	cell, err := r.System.NewCell(path, &mqttbroker.Kind, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Spawn(cell)
	r.Until("a canary", func() bool { return cell.State() == actors.OK })
	p := mosquitto(t, "pub", cfg.Listen, "-V", "5", "-d", "-q", "1", "-t", "cmd/field/plc/Misbehave", "-m", `{"how":"panic"}`)
	for line := p.next(); !strings.Contains(line, "PUBACK"); line = p.next() {
	}
	p.wait()
	got := mosquitto(t, "rr", cfg.Listen, "-V", "311", "-i", "me", "-t", "cmd/field/plc/Misbehave/1", "-e", "reply/me/1", "-m", `{"how":"panic"}`).next()
	if want := `{"code":"permission_denied","message":"this broker accepts no calls: commands = false"}`; got != want {
		t.Errorf("the caller gets %q, want %q", got, want)
	}
	if len(called) > 0 {
		t.Error("the call was made")
	}
}

// No client can read the answers of others or have its answers sent elsewhere.
func TestAnswersAreOnes(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	called := make(chan struct{}, 4)
	startCounter(r, func(c *actors.Context, _ string) {
		called <- struct{}{}
		c.Reply(nil)
	})
	spy := subscribed(t, addr, "-V", "5", "-i", "spy", "-t", "reply/#", "-t", "#", "-F", "%t")
	mosquitto(t, "rr", addr, "-V", "5", "-i", "me", "-t", "cmd/field/plc/Misbehave", "-e", "reply/me/1", "-m", `{"how":"panic"}`).next()
	actorstest.Next(t, called)
	mosquitto(t, "pub", addr, "-V", "5", "-i", "bad", "-q", "1", "-t", "cmd/field/plc/Misbehave", "-D", "PUBLISH", "response-topic", "reply/me/2",
		"-m", `{"how":"panic"}`).wait()
	mosquitto(t, "pub", addr, "-V", "5", "-i", "bad", "-q", "1", "-t", "data/field/fake", "-m", `{}`).wait()
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	for line := heard(spy); line != "data/field/meter/points"; line = heard(spy) {
		if strings.HasPrefix(line, "reply/") || line == "data/field/fake" {
			t.Errorf("the spy hears %s", line)
		}
	}
	if len(called) > 0 {
		t.Error("a call with somebody else's response topic was made")
	}
}

// The number of a client's unanswered calls is limited, and they do not affect other clients.
func TestOpenCallsAreBounded(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	startCounter(r, reply)
	p := python(t, addr, `
import sys, paho.mqtt.client as mqtt
def on_message(c, u, m):
    print(m.topic, m.payload.decode(), flush=True)
def flood(c, *a):
    for i in range(80):
        c.publish("cmd/field/plc/Misbehave/%d" % i, b'{"how":"hang"}', qos=0)
c = mqtt.Client(client_id="greedy")
c.on_connect = lambda c, *a: c.subscribe("reply/greedy/#")
c.on_subscribe = flood
c.on_message = on_message
c.connect(sys.argv[1], int(sys.argv[2]))
c.loop_forever()
`)
	for range 80 - 64 {
		if line := p.next(); !strings.Contains(line, `"code":"resource_exhausted"`) {
			t.Errorf("answered with %q", line)
		}
	}
	got := mosquitto(t, "rr", addr, "-V", "311", "-i", "me", "-t", "cmd/field/plc/Misbehave/1", "-e", "reply/me/1", "-m", `{"how":"panic"}`).next()
	if got != "{}" {
		t.Errorf("another client is answered with %q", got)
	}
}

// A thousand messages in a burst arrive complete and in order.
func TestBurst(t *testing.T) {
	r := actorstest.New(t)
	cell, addr := start(t, r, &mqttv1.Broker{})
	sub := subscribed(t, addr, "-V", "311", "-t", "data/#", "-F", "%p")
	const n = 2000
	for i := range n {
		payload := fmt.Appendf(nil, `{"n":%d}`, i)
		if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, payload); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if got, want := heard(sub), fmt.Sprintf(`{"n":%d}`, i); got != want {
			t.Fatalf("message %d is %q", i, got)
		}
	}
	if shed := cell.Counters().Shed; shed > 0 {
		t.Errorf("%d shed", shed)
	}
}

const pahoCancels = `
import sys, paho.mqtt.client as mqtt
c = mqtt.Client(client_id="me")
def on_message(c, u, m):
    print(m.topic, m.payload.decode(), flush=True)
    c.disconnect()
def on_subscribe(c, u, mid, codes):
    c.publish("cmd/field/plc/Misbehave/1", b'{"how":"hang"}', qos=1)
    c.publish("cancel/me/2", b"", qos=1)
    c.publish("cancel/me/1", b"", qos=1)
c.on_connect = lambda c, *a: c.subscribe("reply/me/#", 1)
c.on_subscribe, c.on_message = on_subscribe, on_message
c.connect(sys.argv[1], int(sys.argv[2]))
c.loop_forever()
`

// A client can cancel only its own calls, and is told so.
func TestCallsAreCancelled(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{CallTimeout: durationpb.New(4 * time.Minute)})
	startCounter(r, reply) // a call cancelled before its turn is not served at all
	p := python(t, addr, pahoCancels)
	if got := p.next(); !strings.HasPrefix(got, `reply/me/1 {"code":"canceled"`) {
		t.Errorf("paho prints %q", got)
	}
	if got := sessions(t, r, &mqttv1.SessionsRequest{})["me"]; got.GetCalls() != 0 {
		t.Errorf("%d calls are under way", got.Calls)
	}
	other := mosquitto(t, "pub", addr, "-V", "5", "-i", "other", "-d", "-q", "1", "-t", "cancel/me/1", "-n")
	for line := other.next(); ; line = other.next() {
		if strings.Contains(line, "PUBACK") {
			if !strings.Contains(line, "RC:135") {
				t.Errorf("a stranger cancels: %s", line)
			}
			break
		}
	}
}

// Many clients publish a call and disconnect. The call is carried out even if it had to wait and
// its client disconnected before its turn.
func TestCallsOfWhoHasGoneAreCarriedOut(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	served, hold := make(chan string, 4), make(chan struct{})
	startCounter(r, func(c *actors.Context, how string) {
		served <- how
		<-hold
		c.Reply(nil)
	})
	for _, how := range []string{"hang", "leak"} {
		mosquitto(t, "pub", addr, "-i", how, "-q", "1", "-t", "cmd/field/plc/Misbehave", "-m", `{"how":"`+how+`"}`).wait()
	}
	if got := actorstest.Next(t, served); got != "hang" {
		t.Errorf("served %q", got)
	}
	cell := r.System.Lookup("field/plc")
	r.Until("the second one waits", func() bool { return cell.Counters().Waiting == 1 })
	r.Until("both have gone", func() bool { return len(sessions(t, r, &mqttv1.SessionsRequest{})) == 0 })
	close(hold)
	if got := actorstest.Next(t, served); got != "leak" {
		t.Errorf("served %q", got)
	}
}

// Answers carry the trace that the client named, or the one that began with its call.
func TestAnswersCarryTheTrace(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	startCounter(r, func(c *actors.Context, _ string) { c.Reply(nil) })
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	ask := func(args ...string) string {
		return mosquitto(t, "rr", addr, append([]string{"-V", "5", "-i", "me", "-t", "cmd/field/plc/Misbehave", "-e", "reply/me/1", "-F", "%P", "-m", `{"how":"panic"}`}, args...)...).next()
	}
	if got := ask(); !strings.Contains(got, "traceparent:00-") {
		t.Errorf("answered with %q", got)
	}
	if got := ask("-D", "PUBLISH", "user-property", "traceparent", "00-"+trace+"-00f067aa0ba902b7-01"); !strings.Contains(got, "traceparent:00-"+trace) {
		t.Errorf("answered with %q", got)
	}
}

const pahoStreams = `
import json, sys, time, paho.mqtt.client as mqtt
qos, to, most = int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
c = mqtt.Client(client_id="me")
n = 0
def on_message(c, u, m):
    global n
    said = json.loads(m.payload or b"{}")
    if said.get("number") == n + 1:
        n += 1
        if n == 1:
            time.sleep(1) # what comes meanwhile is more than anything holds
        if n == most:
            c.publish("cancel/me/1", b"", qos=1)
        return
    print("all" if n == to else "less", m.payload.decode(), flush=True)
    c.disconnect()
c.on_connect = lambda c, *a: c.subscribe("reply/me/#", qos)
c.on_subscribe = lambda c, *a: c.publish("cmd/field/plc/Count/1", '{"to":%d}' % to, qos=1)
c.on_message = on_message
c.connect(sys.argv[1], int(sys.argv[2]))
c.loop_forever()
`

// A client receives all of a stream however fast it comes, or until it has read enough.
func TestStreamsWaitForTheirClient(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{WriteBuffer: 64 << 10, MaxPacket: 32 << 10, CallTimeout: durationpb.New(100 * time.Millisecond)})
	startCounter(r, reply)
	for _, tt := range []struct{ qos, to, most, want string }{
		{"0", "20000", "0", "all "},
		{"1", "20000", "0", "all "},
		{"0", "100000", "100", `less {"code":"canceled","message":"the caller gave up"}`},
	} {
		if got := python(t, addr, pahoStreams, tt.qos, tt.to, tt.most).next(); got != tt.want {
			t.Errorf("QoS %s, %s numbers: %q, want %q", tt.qos, tt.to, got, tt.want)
		}
	}
}
