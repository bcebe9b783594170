package mqtt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"gatewayd/protocols/access"
)

const pahoScript = `
import sys, paho.mqtt.client as mqtt
host, port, ver = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
c = mqtt.Client(client_id="py", protocol=ver)
got = []
def on_connect(c, u, f, rc, props=None):
    c.subscribe([("reply/py/#", 2), ("state/#", 1)])
def on_subscribe(c, u, mid, codes, props=None):
    c.publish("cmd/a/Do", "ping", qos=2)
def on_message(c, u, m):
    got.append((m.topic, m.payload.decode(), m.retain))
    if len(got) == 2:
        c.disconnect()
c.on_connect, c.on_subscribe, c.on_message = on_connect, on_subscribe, on_message
c.connect(host, port, 30)
c.loop_forever()
for g in sorted(got): print(*g)
`

func TestPythonPaho(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import paho.mqtt").Run(); err != nil {
		t.Fatal("python3-paho-mqtt is missing: apt-get install -y python3-paho-mqtt")
	}
	for _, ver := range []string{"3", "4", "5"} {
		var self atomic.Pointer[Server]
		s := start(t, Config{Authorize: DefaultAuthorize, OnPublish: func(c ClientInfo, p Publish) error {
			return self.Load().Respond(c, p, append([]byte("pong "), p.Payload...), Properties{})
		}})
		self.Store(s)
		_ = s.Publish("state/a", []byte("kept"), true, Properties{})
		host, port, _ := net.SplitHostPort(s.Addr().String())
		out := output(t, command(t, python, "-c", pahoScript, host, port, ver))
		if out != "reply/py/a/Do pong ping 0\nstate/a kept 1" && out != "reply/py/a/Do pong ping False\nstate/a kept True" {
			t.Errorf("protocol %s: python said %q", ver, out)
		}
	}
}

func TestPahoGoSeesProperties(t *testing.T) {
	served := make(chan Publish, 1)
	var self atomic.Pointer[Server]
	s := start(t, Config{Authorize: DefaultAuthorize, OnPublish: func(c ClientInfo, p Publish) error {
		served <- p
		return self.Load().Respond(c, p, []byte(`{"ok":true}`), Properties{
			ContentType: "application/json", User: []UserProperty{{"trace", "1"}, {"trace", "2"}}, UTF8: true, Expiry: time.Minute,
		})
	}})
	self.Store(s)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *paho.Publish, 1)
	client := paho.NewClient(paho.ClientConfig{Conn: c, ClientID: "go", OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(pr paho.PublishReceived) (bool, error) { got <- pr.Packet; return true, nil },
	}})
	ack, err := client.Connect(ctx, &paho.Connect{ClientID: "go", CleanStart: true, KeepAlive: 30})
	if err != nil {
		t.Fatal(err)
	}
	if m := ack.Properties.MaximumPacketSize; m == nil || *m != 256<<10 {
		t.Errorf("maximum packet size %v", m)
	}
	if _, err = client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "reply/go/#", QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	if _, err = client.Publish(ctx, &paho.Publish{Topic: "cmd/a/Do", QoS: 1, Payload: []byte("{}"), Properties: &paho.PublishProperties{
		ContentType: "application/json", ResponseTopic: "reply/go/1", CorrelationData: []byte{0, 1, 2}, User: paho.UserProperties{{Key: "k", Value: "v"}},
	}}); err != nil {
		t.Fatal(err)
	}
	if p := <-served; p.ContentType != "application/json" || p.ResponseTopic != "reply/go/1" || len(p.User) != 1 || p.User[0] != (UserProperty{"k", "v"}) {
		t.Errorf("served %+v", p)
	}
	select {
	case p := <-got:
		pr := p.Properties
		if p.Topic != "reply/go/1" || pr.ContentType != "application/json" || !bytes.Equal(pr.CorrelationData, []byte{0, 1, 2}) ||
			len(pr.User) != 2 || pr.User[1].Value != "2" || pr.MessageExpiry == nil || pr.PayloadFormat == nil {
			t.Errorf("got %+v %+v", p, pr)
		}
	case <-ctx.Done():
		t.Fatal("no answer")
	}
	if err = client.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
	<-client.Done()
}

// The library sets no time limit for a handshake, and hides the certificate (M12).
func TestTLSWithClientCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "meter-7"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	who := make(chan string, 1)
	s := start(t, Config{
		ConnectTimeout: 500 * time.Millisecond,
		TLS:            &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
		Authenticate: func(c ClientInfo) (*access.Identity, error) {
			who <- c.TLS.PeerCertificates[0].Subject.CommonName
			return nil, nil
		},
	})
	silent := dial(t, s)
	c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: pool, Certificates: own})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := dial(t, s)
	_ = p.Close()
	p.Conn = c
	p.r.Reset(c)
	p.connect(hello{id: "m"})
	if cn := <-who; cn != "meter-7" {
		t.Errorf("common name %q", cn)
	}
	p.subscribe("x", 1)
	big := strings.Repeat("x", 100_000)
	for range 4 {
		_ = s.Publish("x", []byte(big), false, Properties{})
	}
	for range 4 {
		_, payload, id := p.message()
		if payload != big {
			t.Fatal("payload is damaged")
		}
		p.ack(id)
	}
	silent.wantClosed()
}
