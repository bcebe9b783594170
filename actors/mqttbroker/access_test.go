package mqttbroker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/mqttbroker"
	"gatewayd/bus"
	"gatewayd/protocols/access"
	"gatewayd/protocols/freeport"
	accessv1 "gatewayd/schemas/access/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make(&x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true}, "ca")
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes name.pem and name.key.
func (a *authority) issue(name string) {
	a.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, name)
}

func (a *authority) make(c *x509.Certificate, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.n), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

// dialTLS returns the certificate that a listener presents.
func dialTLS(addr string, a *authority) (*x509.Certificate, error) {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

const keeper = "access"

func residents() *accessv1.Access {
	return &accessv1.Access{
		Roles: []*accessv1.Role{
			{Name: "viewer", Allow: []string{"data/#", "state/#"}, Deny: []string{"data/field/secret/#"}},
			{Name: "operator", Allow: []string{"data/#", "cmd/field/#", "shop/#"}, Deny: []string{"cmd/field/plc/Restart"}},
		},
		Identities: []*accessv1.Identity{
			{Name: "vera", Roles: []string{"viewer"}, Password: access.Hash([]byte("vera's"))},
			{Name: "otto", Roles: []string{"operator"}, Certificates: []string{"CN:otto"}, Password: access.Hash([]byte("otto's"))},
		},
	}
}

// guarded starts a broker that requires a certificate and password.
func guarded(t *testing.T, who *accessv1.Access) (*actorstest.Rig, string, *authority) {
	a := newAuthority(t)
	a.issue("broker")
	a.issue("otto")
	r := actorstest.New(t)
	r.Start(keeper, accesscontrol.Kind, who)
	_, addr := start(t, r, &mqttv1.Broker{Access: keeper, Tls: &tlsv1.Server{CertFile: a.file("broker.pem"), KeyFile: a.file("broker.key"), CaFile: a.file("ca.pem")}})
	return r, addr, a
}

// as returns the arguments with which a mosquitto program connects under a name.
func (a *authority) as(name string, more ...string) []string {
	args := append([]string{"--cafile", a.file("ca.pem"), "-V", "5", "-i", name}, more...)
	if name == "otto" {
		return append(args, "--cert", a.file("otto.pem"), "--key", a.file("otto.key"))
	}
	return append(args, "-u", name, "-P", name+"'s")
}

func TestWhoComesInAndHearsWhat(t *testing.T) {
	r, addr, a := guarded(t, residents())
	for what, args := range map[string][]string{
		"nobody":         {"--cafile", a.file("ca.pem"), "-i", "x"},
		"wrong password": {"--cafile", a.file("ca.pem"), "-i", "vera", "-u", "vera", "-P", "vero's"},
		"foreign id":     {"--cafile", a.file("ca.pem"), "-i", "otto", "-u", "vera", "-P", "vera's"},
	} {
		p := mosquitto(t, "sub", addr, append(args, "-V", "5", "-t", "data/#")...)
		if line := p.next(); !strings.Contains(line, "Bad User Name or Password") {
			t.Errorf("%s: %q", what, line)
		}
	}
	vera := subscribed(t, addr, a.as("vera", "-t", "#", "-F", "%t")...)
	say := func(path string) {
		t.Helper()
		if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, path, "points"), bus.JSON, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	say("field/secret")
	say("field/meter")
	for line := heard(vera); line != "data/field/meter/points"; line = heard(vera) {
		if !strings.HasPrefix(line, "state/") {
			t.Errorf("vera hears %s", line)
		}
	}
}

func TestWhoCallsWhat(t *testing.T) {
	r, addr, a := guarded(t, residents())
	callers := make(chan actors.Caller, 4)
	startCounter(r, func(c *actors.Context, _ string) {
		callers <- c.Caller()
		c.Reply(nil)
	})
	got := mosquitto(t, "rr", addr, a.as("otto", "-t", "cmd/field/plc/Misbehave", "-e", "reply/otto/1", "-m", `{"how":"panic"}`)...).next()
	if c := actorstest.Next(t, callers); got != "{}" || c.Identity != "user/otto" {
		t.Errorf("otto gets %q as %+v", got, c)
	}
	for _, tt := range []struct{ name, topic string }{{"vera", "cmd/field/plc/Misbehave"}, {"otto", "cmd/field/plc/Restart"}, {"vera", "cmd/field/plc/Misbehave/77"}, {"vera", "shop/x"}} {
		p := mosquitto(t, "pub", addr, a.as(tt.name, "-d", "-q", "1", "-t", tt.topic, "-m", `{"how":"panic"}`)...)
		line := p.next()
		for !strings.Contains(line, "RC:") || !strings.Contains(line, "PUBACK") {
			line = p.next()
		}
		if !strings.Contains(line, "RC:135") {
			t.Errorf("%s on %s: %s, want 135 (not authorized)", tt.name, tt.topic, line)
		}
	}
	// The answer says why, with every version and QoS, and a client of MQTT 3.1.1 stays connected.
	for _, version := range []string{"311", "5"} {
		for _, qos := range []string{"0", "1", "2"} {
			p := mosquitto(t, "rr", addr, a.as("otto", "-V", version, "-q", qos, "-t", "cmd/field/plc/Restart/77", "-e", "reply/otto/77", "-m", `{}`)...)
			if got, want := p.next(), `{"code":"permission_denied","message":"otto may not use cmd/field/plc/Restart"}`; got != want {
				t.Errorf("version %s, QoS %s: otto gets %q, want %q", version, qos, got, want)
			}
		}
	}
	if len(callers) > 0 {
		t.Error("a call that is not allowed was made")
	}
}

// A revoked client is disconnected at once and cannot connect again, even after a new life of the
// access-control, until it is restored.
func TestRevoke(t *testing.T) {
	r, addr, a := guarded(t, residents())
	cut := actorstest.Watch(r, "event/edge/broker/cut", &mqttv1.Cut{})
	vera, otto := subscribed(t, addr, a.as("vera", "-t", "data/#")...), subscribed(t, addr, a.as("otto", "-t", "data/#", "-F", "%t")...)
	if _, err := actorstest.Call(r, keeper, "Revoke", &accessv1.RevokeRequest{Identity: "vera", Reason: "left"}, &accessv1.RevokeResponse{}); err != nil {
		t.Fatal(err)
	}
	if e := actorstest.Next(t, cut); e.Identity != "vera" || len(e.Clients) != 1 || !strings.Contains(e.Cause, "revoked") {
		t.Errorf("event %v", e)
	}
	vera.wait() // mosquitto_sub ends when the broker tells it to disconnect
	refused := func() {
		t.Helper()
		p := mosquitto(t, "sub", addr, a.as("vera", "-t", "data/#")...)
		if line := p.next(); !strings.Contains(line, "Bad User Name or Password") {
			t.Errorf("a revoked identity is told %q", line)
		}
	}
	refused()
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if line := heard(otto); line != "data/field/meter/points" {
		t.Errorf("otto hears %q", line)
	}
	cell := r.System.Lookup(keeper)
	r.Stop(cell)
	r.Spawn(cell)
	status := func() string {
		l, err := actorstest.Call(r, keeper, "List", &accessv1.ListRequest{}, &accessv1.ListResponse{})
		if err != nil {
			return ""
		}
		return l.Identities[0].Status
	}
	r.Until("the keeper knows again", func() bool { return status() == "revoked" })
	refused()
	if _, err := actorstest.Call(r, keeper, "Restore", &accessv1.RestoreRequest{Identity: "vera"}, &accessv1.RestoreResponse{}); err != nil {
		t.Fatal(err)
	}
	r.Until("vera is in again", func() bool { // the broker learns of it a moment later
		return !strings.Contains(mosquitto(t, "sub", addr, a.as("vera", "-t", "data/#", "-d", "-E")...).last(), "Bad User")
	})
}

// A renewed certificate is presented to the next clients; connected clients stay connected.
func TestRenewedCertificate(t *testing.T) {
	r, addr, a := guarded(t, residents())
	old := subscribed(t, addr, a.as("otto", "-t", "data/#", "-F", "%t")...)
	was := a.n
	a.issue("broker")
	r.Until("the new certificate is shown", func() bool {
		c, err := dialTLS(addr, a)
		if err != nil {
			t.Fatal(err)
		}
		return c.SerialNumber.Int64() > was
	})
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if line := heard(old); line != "data/field/meter/points" {
		t.Errorf("otto hears %q", line)
	}
}

// Without the actor that keeps the policy no client can connect, and the broker says why.
func TestNoPolicyNobodyComesIn(t *testing.T) {
	r := actorstest.New(t)
	addr := freeport.Address(t)
	cell := r.Start(path, mqttbroker.Kind, &mqttv1.Broker{Listen: addr, Access: keeper})
	r.Until("it says so", func() bool {
		return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "no client is admitted")
	})
	p := mosquitto(t, "sub", addr, "-V", "5", "-i", "x", "-t", "data/#")
	if line := p.next(); !strings.Contains(line, "unavailable") {
		t.Errorf("mosquitto says %q", line)
	}
	r.Start(keeper, accesscontrol.Kind, &accessv1.Access{Roles: residents().Roles, Anonymous: []string{"viewer"}})
	r.Until("it is well", func() bool { return cell.State() == actors.OK })
	subscribed(t, addr, "-V", "5", "-i", "x", "-t", "data/#")
}
