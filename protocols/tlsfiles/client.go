package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Client is what the client of somebody else's server needs; all of it may be empty.
type Client struct {
	CA         string // who may vouch for the server; empty: the system's authorities
	Cert, Key  string // ours
	ServerName string // on the server's certificate; empty: the host that is called
}

// Config is TLS 1.2 or later; its errors name the keys of a config. The authorities are those of now; ours is read again for each connection, since it may be renewed. Without
// a host and a server name, whoever dials says what the server is called.
func (f Client) Config(host string) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if t.ServerName == "" {
		t.ServerName = host
	}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, fmt.Errorf("ca-file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca-file %s: no certificate in it", f.CA)
		}
	}
	if f.Cert != "" {
		own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
			return &pair, err
		}
		if _, err := own(nil); err != nil {
			return nil, fmt.Errorf("cert-file %s with key-file %s: %w", f.Cert, f.Key, err)
		}
		t.GetClientCertificate = own
	}
	return t, nil
}
