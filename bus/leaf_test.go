package bus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	samplev1 "gatewayd/schemas/sample/v1"
)

// A hub is a NATS cluster of three nodes in this process that gateways join, with TLS in both
// directions.
type hub struct {
	t     *testing.T
	nodes []*server.Server
	opts  []*server.Options
	tls   *tls.Config // for gateways
	user  nats.Option // of a client that may use everything
}

// pair returns a self-signed certificate for both ends.
func pair(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// seed creates a key for a gateway.
func seed(t *testing.T) (file, public string) {
	t.Helper()
	k, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	s, _ := k.Seed()
	public, _ = k.PublicKey()
	file = filepath.Join(t.TempDir(), "hub.nk")
	if err := os.WriteFile(file, s, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, public
}

// startHub starts the cluster; grants are the permissions of gateways by their public keys.
func startHub(t *testing.T, grants map[string]bus.Grant) *hub {
	cert, pool := pair(t)
	h := &hub{t: t, tls: &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS12}, user: nats.UserInfo("ops", "secret")}
	for i := range 3 {
		fleet := server.NewAccount("FLEET")
		o := &server.Options{ServerName: "hub-" + string(rune('a'+i)), Host: "127.0.0.1", Port: port(t), NoSigs: true, NoLog: true, Accounts: []*server.Account{fleet},
			Cluster:  server.ClusterOpts{Name: "hub", Host: "127.0.0.1", Port: port(t)},
			LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: port(t), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}},
			Users:    []*server.User{{Username: "ops", Password: "secret", Account: fleet}}}
		for public, g := range grants {
			o.Nkeys = append(o.Nkeys, &server.NkeyUser{Nkey: public, Account: fleet, Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Allow: g.Publish}, Subscribe: &server.SubjectPermission{Allow: g.Subscribe}}})
		}
		if i > 0 {
			o.Routes = []*url.URL{{Scheme: "nats", Host: h.nodes[0].ClusterAddr().String()}}
		}
		h.opts = append(h.opts, o)
		h.nodes = append(h.nodes, nil)
		h.start(i)
	}
	t.Cleanup(func() {
		for _, s := range h.nodes {
			s.Shutdown()
		}
	})
	return h
}

// start starts a node, always on the same ports.
func (h *hub) start(i int) {
	h.t.Helper()
	s, err := server.NewServer(h.opts[i])
	if err != nil {
		h.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		h.t.Fatal("a node of the hub does not start")
	}
	h.nodes[i] = s
}

// port returns a free port.
func port(t *testing.T) int {
	t.Helper()
	p, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (h *hub) urls() (all []string) {
	for _, o := range h.opts {
		all = append(all, "tls://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(o.LeafNode.Port)))
	}
	return all
}

// client connects to a node with all permissions.
func (h *hub) client(i int) *nats.Conn {
	h.t.Helper()
	nc, err := nats.Connect(h.nodes[i].ClientURL(), h.user)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	return nc
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// The hub receives from and calls two gateways across a cluster as far as each permits it, and no
// further; a gateway reconnects when its node is gone.
func TestLeaf(t *testing.T) {
	leafs := map[string]*bus.Leaf{"site-1": {Calls: []string{"cmd/field/#"}}, "site-2": {Subscribe: []bus.Class{bus.State}}}
	grants := map[string]bus.Grant{}
	for id, l := range leafs {
		l.URLs = []string{"tls://127.0.0.1:1"}
		file, public := seed(t)
		l.Key = file
		g, err := l.Grant(id)
		if err != nil {
			t.Fatal(err)
		}
		if id == "site-2" { // its hub permits it everything: what it shares is the gateway's decision
			g = bus.Grant{Publish: []string{">"}, Subscribe: []string{">"}}
		}
		grants[public] = g
	}
	h := startHub(t, grants)
	buses := map[string]*bus.Bus{}
	for id, l := range leafs {
		l.URLs, l.TLS = h.urls(), h.tls
		b, err := bus.Start(bus.Config{Gateway: id, Dir: filepath.Join(t.TempDir(), "bus"), Leaf: l})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		buses[id] = b
	}
	nc := h.client(2)
	heard := make(chan string, 1000)
	for _, filter := range []string{"gw.>", "$JS.>"} {
		if _, err := nc.Subscribe(filter, func(m *nats.Msg) { heard <- m.Subject }); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	one, two := buses["site-1"].Conn(), buses["site-2"].Conn()
	for _, c := range []*bus.Conn{one, two} {
		if _, err := c.Subscribe("gw.*.cmd.>", func(m bus.Msg) {
			_ = m.Respond(&structpb.Struct{Fields: map[string]*structpb.Value{"who": structpb.NewStringValue(m.Caller().Identity)}})
		}); err != nil {
			t.Fatal(err)
		}
	}
	said := func(id, class string) func() bool {
		return func() bool {
			subject := "gw." + id + "." + class + ".field.x.leaf"
			_ = buses[id].Conn().Publish(subject, &samplev1.Samples{})
			for len(heard) > 0 {
				if <-heard == subject {
					return true
				}
			}
			return false
		}
	}
	for _, class := range []string{"state", "event", "data"} {
		waitFor(t, "site-1 is heard: "+class, said("site-1", class))
	}
	waitFor(t, "site-2 is heard", said("site-2", "state"))
	for range 20 { // what it does not share is not sent
		if said("site-2", "event")() || said("site-1", "trace")() {
			t.Fatal("the hub hears what it must not")
		}
	}
	call := func(subject string) (string, error) {
		m, err := nc.Request(subject, []byte("{}"), 500*time.Millisecond)
		if err != nil {
			return "", err
		}
		return string(m.Data), nil
	}
	waitFor(t, "a call is answered", func() bool {
		text, err := call("gw.site-1.cmd.field.x.Do")
		return err == nil && strings.Contains(text, "nats/hub")
	})
	for _, subject := range []string{"gw.site-1.cmd.config.Reload", "gw.site-2.cmd.field.x.Do", "gw.site-3.cmd.field.x.Do", "$JS.API.INFO"} {
		if text, err := call(subject); err == nil {
			t.Errorf("%s is answered: %s", subject, text)
		}
	}
	for _, b := range buses {
		if !b.Hub() {
			t.Error("not connected")
		}
	}
	for i := range h.nodes { // each node stops and starts again: the others take over
		h.nodes[i].Shutdown()
		h.nodes[i].WaitForShutdown()
		other := h.client((i + 1) % 3)
		waitFor(t, "a call is answered by another way", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := other.RequestWithContext(ctx, "gw.site-1.cmd.field.x.Do", []byte("{}"))
			return err == nil
		})
		h.start(i)
	}
}
