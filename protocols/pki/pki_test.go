package pki_test

import (
	"crypto/tls"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/pki"
)

const year = 365 * 24 * time.Hour

func create(t *testing.T) (*pki.Authority, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := pki.Create(dir, "site", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a, dir
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("openssl is missing: apt-get install -y openssl")
	}
	out, err := exec.Command("openssl", args...).CombinedOutput()
	if err != nil {
		t.Logf("openssl %v: %v", args, err)
	}
	return string(out)
}

// OpenSSL agrees about issued, renewed and revoked certificates.
func TestOpenSSLAgrees(t *testing.T) {
	_, dir := create(t)
	a, err := pki.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	if _, err := a.Issue(pki.CertificateRequest{Name: "gateway", Hosts: []string{"gw.site", "192.0.2.1"}, Validity: year}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(pki.CertificateRequest{Name: "panel-1", URI: "spiffe://site/panel-1", Validity: year}, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"verify", "-CAfile", file("ca.crt"), "-purpose", "sslserver", "-verify_hostname", "gw.site", file("gateway.crt")}, "gateway.crt: OK"},
		{[]string{"verify", "-CAfile", file("ca.crt"), "-purpose", "sslserver", "-verify_ip", "192.0.2.1", file("gateway.crt")}, "gateway.crt: OK"},
		{[]string{"verify", "-CAfile", file("ca.crt"), "-purpose", "sslclient", file("panel-1.crt")}, "panel-1.crt: OK"},
		{[]string{"verify", "-CAfile", file("ca.crt"), "-purpose", "sslserver", file("panel-1.crt")}, "unsuitable certificate purpose"},
		{[]string{"x509", "-in", file("panel-1.crt"), "-noout", "-text"}, "URI:spiffe://site/panel-1"},
		{[]string{"x509", "-in", file("panel-1.crt"), "-noout", "-text"}, "prime256v1"},
		{[]string{"ec", "-in", file("panel-1.pem"), "-check", "-noout"}, "EC Key valid"},
		{[]string{"crl", "-in", file("ca.crl"), "-CAfile", file("ca.crt"), "-noout"}, "verify OK"},
	} {
		if got := openssl(t, tt.args...); !strings.Contains(got, tt.want) {
			t.Errorf("openssl %v: %s, want %s", tt.args, got, tt.want)
		}
	}
	crlCheck := []string{"verify", "-crl_check", "-CAfile", file("ca.crt"), "-CRLfile", file("ca.crl"), file("panel-1.crt")}
	if got := openssl(t, crlCheck...); !strings.Contains(got, "OK") {
		t.Error(got)
	}
	old, err := os.ReadFile(file("panel-1.crt"))
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := a.Renew("panel-1", year, time.Now())
	if err != nil || len(renewed.URIs) != 1 {
		t.Fatal(renewed, err)
	}
	gone, err := a.Revoke("panel-1", time.Now())
	if err != nil || len(gone) != 2 {
		t.Fatalf("%d certificates revoked, %v", len(gone), err)
	}
	if got := openssl(t, crlCheck...); !strings.Contains(got, "certificate revoked") {
		t.Error(got)
	}
	if err := os.WriteFile(file("old.crt"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	crlCheck[len(crlCheck)-1] = file("old.crt")
	if got := openssl(t, crlCheck...); !strings.Contains(got, "certificate revoked") {
		t.Error(got)
	}
	all, err := a.List()
	if err != nil || len(all) != 3 {
		t.Fatal(all, err)
	}
	for _, c := range all {
		if (c.Subject.CommonName == "panel-1") == c.Revoked.IsZero() {
			t.Errorf("%s revoked: %s", c.Subject, c.Revoked)
		}
	}
}

// Go's TLS accepts the one file as key and certificate, and only its owner can read it.
func TestFiles(t *testing.T) {
	a, dir := create(t)
	if _, err := a.Issue(pki.CertificateRequest{Name: "gateway", Hosts: []string{"localhost"}, Validity: year}, time.Now()); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.File("gateway.pem"), a.File("gateway.pem"))
	if err != nil || len(pair.Certificate) != 2 {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"ca.key": 0o600, "gateway.pem": 0o600, "ca.crt": 0o644, "ca.crl": 0o644} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestWhatCannotBeIssued(t *testing.T) {
	a, dir := create(t)
	if _, err := pki.Create(dir, "again", time.Now()); err == nil {
		t.Error("an authority was overwritten")
	}
	if _, err := pki.Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "gatewayd claim") {
		t.Error(err)
	}
	for _, o := range []pki.CertificateRequest{
		{Name: "ca", Validity: year}, {Name: "", Validity: year}, {Name: "../x", Validity: year}, {Name: ".x", Validity: year}, {Name: "x"},
		{Name: "x", Validity: 30 * year}, {Name: "x", Validity: year, URI: "panel"},
	} {
		if c, err := a.Issue(o, time.Now()); err == nil {
			t.Errorf("%+v: %v", o, c.Subject)
		}
	}
	if _, err := a.Issue(pki.CertificateRequest{Name: "x", Validity: year}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(pki.CertificateRequest{Name: "x", Validity: year}, time.Now()); err == nil {
		t.Error("a certificate was overwritten")
	}
	if _, err := a.Revoke("y", time.Now()); err == nil {
		t.Error("what is not there was revoked")
	}
	if _, err := a.Renew("y", year, time.Now()); err == nil {
		t.Error("what is not there was renewed")
	}
}
