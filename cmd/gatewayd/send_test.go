package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/pki"
	"gatewayd/protocols/tr50/tr50test"
)

// sendField has what the tracks of docs/send.md record: a meter with a power.
const sendField = `
[field.line.link]
kind    = "tcp-link"
address = "%s"

[field.line.meter]
kind   = "modbus-unit"
link   = "field/line/link"
unit   = 1
every  = "200ms"
points = [{ name = "power", area = "input", address = 0, type = "uint16", unit = "W" }]
`

// farEnds are the far ends in docs/send.md: a broker, a hub and a web service, which note what they
// receive, and mdi-sink.
type farEnds struct {
	places *strings.Replacer
	config string // what a config needs beside the text of the page
	ca     string
	sink   string // command of a script that starts mdi-sink

	mu  sync.Mutex
	got []string // who has received what
}

func (f *farEnds) note(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, text)
}

func (f *farEnds) has(want string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	re := regexp.MustCompile(want)
	for _, text := range f.got {
		if re.MatchString(text) {
			return true
		}
	}
	return false
}

func newFarEnds(t *testing.T) *farEnds {
	f := &farEnds{}
	ca, err := pki.Create(filepath.Join(t.TempDir(), "pki"), "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []pki.CertificateRequest{{Name: "server", Hosts: []string{"127.0.0.1"}, Validity: time.Hour}, {Name: "site-7", Validity: time.Hour}} {
		if _, err := ca.Issue(o, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	f.ca = ca.File("ca.crt")
	plain, secure, mutual := f.broker(t, ca)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		f.note("http " + r.URL.String() + " " + r.Header.Get("Content-Type"))
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(web.Close)
	sink := freeport.Address(t)
	f.sink = fmt.Sprintf("exec gatewayd mdi-sink --listen %s --tls --cert %s --key %s --ca %s &sink&\n", sink, ca.File("server.crt"), ca.File("server.pem"), f.ca)
	f.config = fmt.Sprintf(sendField, meterPlant(t))
	f.places = strings.NewReplacer(
		"http://cloud.example:8080", web.URL, "http://influx.example:8086", web.URL, "http://otel.example:4318", web.URL,
		"tcp://broker.example:1883", "tcp://"+plain, "tcp://homeassistant.example:1883", "tcp://"+plain, "ssl://thingsboard.example:8883", "ssl://"+secure,
		"ssl://example-ats.iot.eu-central-1.amazonaws.com:8883", "ssl://"+mutual, "ssl://acme.azure-devices.net:8883", "ssl://"+mutual,
		"ssl://scada.example:8883", "ssl://"+secure, "ssl://api.devicewise.example:8883", "ssl://"+secure, "ssl://munic.example:8883", "ssl://"+secure,
		"nats://hub.example:4333", f.hub(t), "tls://sink.example:5001", "tls://"+sink,
		"/etc/gatewayd/AmazonRootCA1.pem", f.ca, "/etc/gatewayd/scada-ca.pem", f.ca, "/etc/gatewayd/sink-ca.pem", f.ca,
		"/etc/gatewayd/site-7.pem", ca.File("site-7.crt"), "/etc/gatewayd/site-7.key", ca.File("site-7.pem"),
		`flush         = "1m"`, `flush = "100ms"`, `kind = "bus"`, "kind = \"bus\"\nlisten = \"127.0.0.1:0\"\nanonymous = \"operator\"")
	return f
}

// broker runs mosquitto with three listeners: without TLS, with TLS, and with client certificates.
// What is published is noted. A TR50 server answers there too.
func (f *farEnds) broker(t *testing.T, ca *pki.Authority) (plain, secure, mutual string) {
	secure, mutual = freeport.Address(t), freeport.Address(t)
	listener := func(address string) []string {
		_, port, _ := net.SplitHostPort(address)
		return []string{"listener " + port + " 127.0.0.1", "cafile " + f.ca, "certfile " + ca.File("server.crt"), "keyfile " + ca.File("server.pem")}
	}
	plain = mosquitto.Run(t, append(append(listener(secure), listener(mutual)...), "require_certificate true")...)
	k, err := mqttclient.Dial(t.Context(), mqttclient.Config{URL: "tcp://" + plain, ClientID: "witness", Subscriptions: []mqttclient.Subscription{
		{Filter: "#", QoS: 1, OnMessage: func(m mqttclient.Message) { f.note("mqtt " + m.Topic + " " + string(m.Payload)) }},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	s, err := tr50test.New(t.Context(), "tcp://"+plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return plain, secure, mutual
}

// hub runs a NATS server with the stream of the page.
func (f *farEnds) hub(t *testing.T) (url string) {
	hub, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	t.Cleanup(hub.Shutdown)
	if !hub.ReadyForConnections(patience) {
		t.Fatal("the hub does not start")
	}
	nc, err := nats.Connect(hub.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SITES", Subjects: []string{"sites.>"}})
	}
	if err == nil {
		_, err = nc.Subscribe("sites.>", func(m *nats.Msg) { f.note("nats " + m.Subject) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return hub.ClientURL()
}

// meterPlant serves a meter by Modbus TCP.
func meterPlant(t *testing.T) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	d := sim.NewDevice(1)
	d.Put(sim.InputRegisters, 0, 1500)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = sim.NewPlant(d).ServeTCP(ctx, l)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l.Addr().String()
}

// arrivals are what the far ends receive for the page's configs, in their order.
var arrivals = []string{
	`^http /ingest application/json`, `^http /api/v2/write\?org=acme&bucket=sites&precision=ns text/plain`, `^http /v1/metrics application/x-protobuf`,
	`^mqtt gatewayd/site-7/tracks/energy `, `^mqtt v1/devices/me/telemetry .*"energy.meter.power":1500`, `^mqtt dt/gatewayd/site-7/tracks/energy `,
	`^mqtt devices/site-7/messages/events/`, `^mqtt homeassistant/sensor/site-7_tracks_energy/`, `^nats sites\.site-7\.tracks\.energy`,
	`^mqtt spBv1\.0/acme/DDATA/site-7/`, ``, `^mqtt api/.*property\.publish`, `^mqtt munic/acme/359858024342931/`,
}

// TestSendPage runs each config of docs/send.md beside a far end of its kind, and checks that
// records arrive.
func TestSendPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/send.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != len(arrivals) {
		t.Fatalf("%d configs", len(blocks))
	}
	f := newFarEnds(t)
	p, dir := scripts(), t.TempDir()
	p.Dir = ""
	for i, m := range blocks {
		script := `exec gatewayd check gateway.toml
exec gatewayd run --config gateway.toml &gateway&
until '"acknowledged": ?"[1-9]' exec gatewayd call uplinks/cloud Status
signal TERM
wait gateway
`
		if strings.Contains(m[1], `"uplink-mdi"`) {
			script = f.sink + script + "kill -INT sink\nwait sink\nstdout '\"track\":\"tracks/energy\".*\"meter.power\":1500'\n"
		}
		file := filepath.Join(dir, fmt.Sprintf("send%d.txtar", i))
		if err := os.WriteFile(file, []byte("env SSL_CERT_FILE="+f.ca+"\n"+script+"-- gateway.toml --\n"+f.places.Replace(m[1])+f.config), 0o600); err != nil {
			t.Fatal(err)
		}
		p.Files = append(p.Files, file)
	}
	t.Run("configs", func(t *testing.T) { testscript.Run(t, p) })
	for _, want := range arrivals {
		if want != "" && !f.has(want) {
			t.Errorf("nothing like %q has arrived:\n%.4000s", want, strings.Join(f.got, "\n"))
		}
	}
}
