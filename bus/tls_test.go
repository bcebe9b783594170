package bus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"gatewayd/bus"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	b, keys := listening(t, func(c *bus.Config) {
		c.Listen = "0.0.0.0:0"
		c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	})
	if _, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) { _ = m.Respond(wrapperspb.Int64(1)) }); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	o := bus.Options{URL: "tls://127.0.0.1:" + port, NKeyFile: filepath.Join(keys, "operator.nk"), TLS: &tls.Config{RootCAs: pool}}
	c, err := bus.Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Call(within(t), "gw.demo.cmd.a.B", wrapperspb.Int64(1), nil); err != nil {
		t.Fatal(err)
	}
	// A client that begins with the handshake is served, and so is one that waits for INFO.
	first, err := tls.Dial("tcp", "127.0.0.1:"+port, o.TLS)
	if err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(first, greeting); err != nil || string(greeting) != "INFO" {
		t.Errorf("%q, %v", greeting, err)
	}
	_ = first.Close()
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	o.TLS = nil
	if c, err := bus.Dial(o); err == nil {
		c.Close()
		t.Fatal("a certificate of nobody was believed")
	} else if code(err) != bus.FailedPrecondition {
		t.Fatal(err)
	}
}
