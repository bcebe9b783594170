package client

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
)

// proof holds the certificates by which client and gateway verify each other.
type proof struct {
	ca, cert, key string // PEM files
}

// tls returns the TLS config for a connection to url. pinned is the file of the server's own
// certificate, if known.
func (p proof) tls(url, pinned string) (*tls.Config, error) {
	if !strings.HasPrefix(url, "tls://") && p == (proof{}) {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	var err error
	switch {
	case p.ca != "":
		if cfg.RootCAs, _, err = certificates(p.ca); err != nil {
			return nil, err
		}
	case pinned != "":
		var all []*x509.Certificate
		if cfg.RootCAs, all, err = certificates(pinned); err != nil {
			return nil, err
		}
		cfg.ServerName = nameOf(all[0]) // the certificate itself is trusted, by whatever name the server is reached
	}
	if p.cert != "" {
		key := p.key
		if key == "" {
			key = p.cert
		}
		own, err := tls.LoadX509KeyPair(p.cert, key)
		if err != nil {
			return nil, fmt.Errorf("--cert %s: %w (key and certificate in one file, as gatewayd makes it, or the key by --cert-key)", p.cert, err)
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	return cfg, nil
}

func nameOf(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return strings.Replace(c.DNSNames[0], "*", "gateway", 1)
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}

// certificates reads the certificates of a PEM file.
func certificates(file string) (*x509.CertPool, []*x509.Certificate, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	pool := x509.NewCertPool()
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		pool.AddCert(c)
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, nil, fmt.Errorf("%s: no certificate in it", file)
	}
	return pool, all, nil
}
