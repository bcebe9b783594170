package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"gatewayd/bus"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// leafOf is the hub of a config; nil if there is none.
func leafOf(c *gatewayv1.Bus) (*bus.Leaf, error) {
	l := c.GetLeaf()
	if l == nil {
		return nil, nil
	}
	out := &bus.Leaf{URLs: l.Urls, Key: l.KeyFile, Credentials: l.CredentialsFile, Calls: l.Calls}
	for _, class := range l.Hears {
		out.Hears = append(out.Hears, bus.Class(class))
	}
	var err error
	if l.CaFile != "" || l.CertFile != "" {
		out.TLS, err = leafTLS(l)
	}
	return out, err
}

func leafTLS(l *gatewayv1.BusLeaf) (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if l.CaFile != "" {
		pem, err := os.ReadFile(l.CaFile)
		if err != nil {
			return nil, fmt.Errorf("leaf: authorities: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("leaf: authorities: %s has no certificate", l.CaFile)
		}
	}
	if l.CertFile == "" {
		return t, nil
	}
	// The files of the moment, so that they can be renewed while the gateway runs.
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(l.CertFile, l.CertKeyFile)
		return &pair, err
	}
	_, err := tls.LoadX509KeyPair(l.CertFile, l.CertKeyFile)
	if err != nil {
		err = fmt.Errorf("leaf: own certificate: %w", err)
	}
	return t, err
}
