package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// Client has the TLS settings of a client; all may be empty.
type Client struct {
	// File of the authorities that may sign the server's certificate; empty: the system's.
	CA         string
	Cert, Key  string // files of our own certificate and key
	ServerName string // name required in the server's certificate; empty: the host that is dialled
}

// Config returns a config for TLS 1.2 or later; its errors name config keys. The authorities are
// read now; our own certificate is read for each connection, since it may be renewed. Without host
// and ServerName, the dialling code must set the server name.
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
