package mdi

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/srv"
	"gatewayd/protocols/uplink"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	m := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, m, m, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool}
}

func (a *authority) sign(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	m := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, m, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	soonOver, over := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	for name, c := range map[string]struct {
		server, client tls.Certificate
		roots          *authority
		why            string
	}{
		"both good":                     {a.sign(t, "sink", soonOver), a.sign(t, "site", soonOver), a, ""},
		"the sink's has expired":        {a.sign(t, "sink", over), a.sign(t, "site", soonOver), a, "expired"},
		"the gateway's has expired":     {a.sign(t, "sink", soonOver), a.sign(t, "site", over), a, "expired"},
		"the sink's is a stranger's":    {stranger.sign(t, "sink", soonOver), a.sign(t, "site", soonOver), a, "authority"},
		"the gateway's is a stranger's": {a.sign(t, "sink", soonOver), stranger.sign(t, "site", soonOver), a, "tls"},
		"the gateway's is another's":    {a.sign(t, "sink", soonOver), a.sign(t, "another", soonOver), a, "not for gateway"},
		"the gateway does not show any": {a.sign(t, "sink", soonOver), tls.Certificate{}, a, "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnd(t, func(l net.Listener) net.Listener {
				return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{c.server}, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert})
			}, true)
			own := &tls.Config{RootCAs: c.roots.pool}
			if c.client.PrivateKey != nil {
				own.Certificates = []tls.Certificate{c.client}
			}
			x, err := newSession(patience).Dial(soon(t), Target{Address: e.address, TLS: own}, uplink.Callbacks{})
			if c.why != "" {
				if err == nil || !strings.Contains(err.Error(), c.why) {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Send(soon(t), meterRecords(3)); err != nil {
				t.Fatal(err)
			}
			if up, down := x.(uplink.Metered).Traffic(); up < 1000 || down < 1000 {
				t.Errorf("%d octets up, %d down, and TLS takes more", up, down)
			}
			_ = x.Close()
			e.has(t, 3)
		})
	}
}

func TestNobodyThere(t *testing.T) {
	s := newSession(patience)
	if _, err := s.Dial(soon(t), Target{Address: "127.0.0.1:1"}, uplink.Callbacks{}); err == nil {
		t.Error("a connection to nobody")
	}
	_, err := s.Dial(soon(t), Target{Service: "_mdi._tcp.example.com", Resolver: srv.Resolver{File: "testdata/none"}}, uplink.Callbacks{})
	if !errors.Is(err, srv.ErrNoNameserver) {
		t.Errorf("%v", err)
	}
}
