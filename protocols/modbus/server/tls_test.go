package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/server"
)

// identity is a certificate with its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue creates a certificate; without by it signs itself.
func issue(t testing.TB, by *identity, name string, adapt func(*x509.Certificate)) *identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	if adapt != nil {
		adapt(c)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &identity{cert, key}
}

func authority(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

// named gives a certificate a role.
func named(role string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		v, _ := asn1.MarshalWithParams(role, "utf8")
		c.ExtraExtensions = []pkix.Extension{{Id: server.RoleOID, Value: v}}
	}
}

func (i *identity) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw})
}

func (i *identity) secret(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

func (i *identity) tls() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{i.cert.Raw}, PrivateKey: i.key}
}

func put(t testing.TB, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secured returns a server with one secure door, and its files.
func secured(t testing.TB, own *identity, cas ...*identity) (at string, f server.Files) {
	t.Helper()
	dir := t.TempDir()
	f = server.Files{Certificate: filepath.Join(dir, "own.pem"), Key: filepath.Join(dir, "own.key"), CA: filepath.Join(dir, "ca.pem")}
	install(t, f, own, cas...)
	at = freeport.Address(t)
	s, err := server.Open(server.Config{}, fixed(1), []server.TCP{{Listen: at, Framing: modbus.TCP, TLS: &f, Readers: []string{"viewer"}}}, nil, nobody)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return at, f
}

// install writes the files of a door.
func install(t testing.TB, f server.Files, own *identity, cas ...*identity) {
	t.Helper()
	put(t, f.Certificate, own.pem())
	put(t, f.Key, own.secret(t))
	var all []byte
	for _, ca := range cas {
		all = append(append(all, "an authority:\n"...), ca.pem()...)
	}
	put(t, f.CA, all)
}

// asks reads a register; an exception is an answer.
func asks(c *tls.Conn) error {
	_, err := modbus.NewLink(c, modbus.TCP, modbus.Options{}).Do(context.Background(), read(1, 1))
	var e *modbus.Exception
	if errors.As(err, &e) {
		return fmt.Errorf("exception %d", e.Code)
	}
	return err
}

// master connects and reads once. It returns the server's certificate.
func master(at string, cfg *tls.Config) (*tls.Conn, *x509.Certificate, error) {
	cfg.InsecureSkipVerify = true // the server's certificate is not what is tested
	c, err := tls.Dial("tcp", at, cfg)
	if err != nil {
		return nil, nil, err
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	if err := asks(c); err != nil {
		_ = c.Close()
		return nil, nil, err
	}
	return c, c.ConnectionState().PeerCertificates[0], nil
}

func TestWhoIsLetIn(t *testing.T) {
	one, two, foreign := issue(t, nil, "one", authority), issue(t, nil, "two", authority), issue(t, nil, "foreign", authority)
	viewer := func(adapt func(*x509.Certificate)) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			named("viewer")(c)
			if adapt != nil {
				adapt(c)
			}
		}
	}
	pinned := issue(t, nil, "pinned", viewer(nil))
	at, _ := secured(t, issue(t, one, "localhost", nil), one, two, pinned)
	role := func(value ...byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{{Id: server.RoleOID, Value: value}} }
	}
	for name, x := range map[string]struct {
		by   *identity
		make func(*x509.Certificate)
		max  uint16
		want string // of the error; empty: accepted
	}{
		"of the one authority":   {by: one, make: viewer(nil)},
		"of the other":           {by: two, make: viewer(nil)},
		"TLS 1.2":                {by: one, make: viewer(nil), max: tls.VersionTLS12},
		"TLS 1.1":                {by: one, make: viewer(nil), max: tls.VersionTLS11, want: "protocol version"},
		"of a foreign authority": {by: foreign, make: viewer(nil), want: "unknown certificate authority"},
		"signed by itself":       {make: viewer(nil), want: "unknown certificate authority"},
		"expired":                {by: one, make: viewer(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), want: "expired certificate"},
		"not valid yet":          {by: one, make: viewer(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), want: "expired certificate"},
		"for clients":            {by: one, make: viewer(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })},
		"for servers only":       {by: one, make: viewer(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), want: "bad certificate"},
		"without a role":         {by: one, want: "exception 1"},
		"another role":           {by: one, make: named("operator"), want: "exception 1"},
		"part of the role":       {by: one, make: named("view"), want: "exception 1"},
		"an empty role":          {by: one, make: named(""), want: "exception 1"},
		"a PrintableString":      {by: one, make: role(0x13, 6, 'v', 'i', 'e', 'w', 'e', 'r'), want: "link lost"},
		"bytes after the role":   {by: one, make: role(0x0c, 6, 'v', 'i', 'e', 'w', 'e', 'r', 0), want: "link lost"},
		"two strings":            {by: one, make: role(0x30, 6, 0x0c, 1, 'a', 0x0c, 1, 'b'), want: "link lost"},
		"no UTF-8":               {by: one, make: role(0x0c, 1, 0xff), want: "link lost"},
	} {
		t.Run(name, func(t *testing.T) {
			cert := issue(t, x.by, "master", x.make).tls()
			// Whatever authorities the server names.
			show := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
			cfg := &tls.Config{GetClientCertificate: show, MinVersion: tls.VersionTLS10, MaxVersion: x.max}
			c, _, err := master(at, cfg)
			if err == nil {
				_ = c.Close()
			}
			if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
				t.Errorf("got %v, want %q", err, x.want)
			}
		})
	}
	if c, _, err := master(at, &tls.Config{Certificates: []tls.Certificate{pinned.tls()}}); err != nil {
		t.Errorf("a certificate that stands among the authorities itself: %v", err)
	} else {
		_ = c.Close()
	}
	if _, _, err := master(at, &tls.Config{}); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a master without a certificate: %v", err)
	}
}

// New certificates are used from the next handshake on; connected masters stay. A master whose
// authority was removed is no longer accepted, not even by resuming a session.
func TestCertificatesAreReadAnew(t *testing.T) {
	ca, next := issue(t, nil, "ca", authority), issue(t, nil, "next", authority)
	at, f := secured(t, issue(t, ca, "before", nil), ca)
	cfg := &tls.Config{
		Certificates: []tls.Certificate{issue(t, ca, "master", named("viewer")).tls()}, ClientSessionCache: tls.NewLRUClientSessionCache(8),
	}
	old, shown, err := master(at, cfg)
	if err != nil || shown.Subject.CommonName != "before" {
		t.Fatal(shown, err)
	}
	defer old.Close()
	again, _, err := master(at, cfg)
	if err != nil || !again.ConnectionState().DidResume {
		t.Fatalf("a session was not resumed with its role: %v", err)
	}
	_ = again.Close()

	put(t, f.Certificate, issue(t, ca, "half", nil).pem()) // its key is not there yet
	half, shown, err := master(at, &tls.Config{Certificates: cfg.Certificates})
	if err != nil || shown.Subject.CommonName != "before" {
		t.Fatal(shown, err)
	}
	_ = half.Close()

	install(t, f, issue(t, next, "after", nil), next)
	if _, _, err := master(at, cfg); err == nil {
		t.Error("a master whose authority has gone is let in")
	}
	c, shown, err := master(at, &tls.Config{Certificates: []tls.Certificate{issue(t, next, "master", named("viewer")).tls()}})
	if err != nil || shown.Subject.CommonName != "after" {
		t.Fatal(shown, err)
	}
	_ = c.Close()
	if err := asks(old); err != nil {
		t.Errorf("who was connected is not any more: %v", err)
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	ca := issue(t, nil, "ca", authority)
	_, f := secured(t, issue(t, ca, "own", nil), ca)
	for want, text := range map[string][]byte{
		"no certificate in it": []byte("hello"),
		"only certificates":    append(ca.pem(), ca.secret(t)...),
		"certificate 2:":       append(ca.pem(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}})...),
	} {
		put(t, f.CA, text)
		if _, err := f.TLS(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// OpenSSL offers what the specification requires of every device.
func TestOpenSSLFindsTheMandatorySuites(t *testing.T) {
	ca := issue(t, nil, "ca", authority)
	at, _ := secured(t, issue(t, ca, "localhost", nil), ca)
	dir := t.TempDir()
	m := issue(t, ca, "master", named("viewer"))
	put(t, filepath.Join(dir, "m.pem"), m.pem())
	put(t, filepath.Join(dir, "m.key"), m.secret(t))
	put(t, filepath.Join(dir, "ca.pem"), ca.pem())
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"}, "ECDHE-ECDSA-AES128-GCM-SHA256"},
		{[]string{"-tls1_3"}, "TLSv1.3"},
	} {
		args := append([]string{
			"s_client", "-connect", at, "-servername", "localhost", "-CAfile", filepath.Join(dir, "ca.pem"), "-verify_return_error",
			"-cert", filepath.Join(dir, "m.pem"), "-key", filepath.Join(dir, "m.key"),
		}, x.args...)
		cmd := exec.Command("openssl", args...)
		cmd.Stdin = strings.NewReader("Q\n")
		out, err := cmd.CombinedOutput()
		if err != nil && errors.Is(err, exec.ErrNotFound) {
			t.Fatal("openssl is missing: apt-get install -y openssl")
		}
		if err != nil || !strings.Contains(string(out), x.want) || !strings.Contains(string(out), "Verify return code: 0 (ok)") {
			t.Errorf("%v: %v\n%s", x.args, err, out)
		}
	}
}

// With TLS 1.2, only authenticated encryption is accepted, which is stricter than the default of
// crypto/tls.
func TestWeakSuitesAreRefused(t *testing.T) {
	ca := issue(t, nil, "ca", authority)
	at, _ := secured(t, issue(t, ca, "localhost", nil), ca)
	cert := issue(t, ca, "master", named("viewer")).tls()
	for suite, good := range map[uint16]bool{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: true, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: false, tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: false,
	} {
		c, _, err := master(at, &tls.Config{Certificates: []tls.Certificate{cert}, CipherSuites: []uint16{suite}, MaxVersion: tls.VersionTLS12})
		if err == nil {
			_ = c.Close()
		}
		if (err == nil) != good {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
		}
	}
}

// Repeated attempts without a certificate, or without TLS, are counted and do not fill the log.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	dir := t.TempDir()
	f := server.Files{Certificate: filepath.Join(dir, "own.pem"), Key: filepath.Join(dir, "own.key"), CA: filepath.Join(dir, "ca.pem")}
	own := issue(t, nil, "gateway", authority)
	install(t, f, own, own)
	var text strings.Builder
	at, cfg := freeport.Address(t), server.Config{Log: slog.New(slog.NewTextHandler(&text, nil))}
	s, err := server.Open(cfg, fixed(1), []server.TCP{{Listen: at, Framing: modbus.TCP, TLS: &f}}, nil, nobody)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
		_, _ = io.Copy(io.Discard, c) // until it is closed
		_ = c.Close()
	}
	_ = s.Close()
	if n := s.Counts().Strangers; n != 5 {
		t.Errorf("%d were counted", n)
	}
	if n := strings.Count(text.String(), "TLS handshake failed"); n != 1 {
		t.Errorf("the log has %d lines:\n%s", n, text.String())
	}
}
