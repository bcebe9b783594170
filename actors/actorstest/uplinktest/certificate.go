package uplinktest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"time"

	"gatewayd/protocols/pki"
	tlsv1 "gatewayd/schemas/tls/v1"
)

// expired has certificates on both sides that are renewed too late. The uplink does not connect,
// reports why, and continues by itself with the new ones.
func expired(x *trial) {
	ca, err := pki.Create(filepath.Join(x.TempDir(), "pki"), "acme", time.Now())
	if err != nil {
		x.Fatal(err)
	}
	issue := func(o pki.CertificateRequest, at time.Time) {
		x.Helper()
		o.Validity, o.Replace = time.Hour, true
		if _, err := ca.Issue(o, at); err != nil {
			x.Fatal(err)
		}
	}
	far, site := pki.CertificateRequest{Name: "far", Hosts: []string{"127.0.0.1"}}, pki.CertificateRequest{Name: "site"}
	yesterday := time.Now().Add(-24 * time.Hour)
	issue(far, yesterday)
	issue(site, yesterday)
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(ca.File("ca.crt")); err != nil || !roots.AppendCertsFromPEM(pem) {
		x.Fatal(err)
	}
	secure := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(ca.File("far.crt"), ca.File("far.pem"))
		return &c, err
	}}
	x.link.goes(way{secure: secure, greet: x.far.Greet})
	x.write(30)
	x.start(nil, &tlsv1.Client{CaFile: ca.File("ca.crt"), CertFile: ca.File("site.crt"), KeyFile: ca.File("site.pem")})
	x.says("certificate has expired")
	issue(far, time.Now())
	x.says("expired certificate", "certificate expired")
	if got := x.far.Got(); len(got) > 0 {
		x.Errorf("%v", got)
	}
	issue(site, time.Now())
	x.write(30)
	x.settled()
}
