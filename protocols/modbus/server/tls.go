package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"
)

// RoleOID marks the extension of a certificate that holds its owner's role (MODBUS/TCP Security V36, R-21).
var RoleOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 50316, 802, 1}

// RoleOf is the role that the other side of a connection has proven; empty: its certificate names none.
func RoleOf(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", nil
	}
	return Role(s.PeerCertificates[0])
}

// Role is the role that a certificate names: the one UTF8String of extension RoleOID. More than one, or one that is written
// otherwise, is an error: who has such a certificate has been given no role by mistake or by fraud.
func Role(c *x509.Certificate) (string, error) {
	role, found := "", false
	for _, e := range c.Extensions {
		if !e.Id.Equal(RoleOID) {
			continue
		}
		if found {
			return "", errors.New("the certificate has more than one role")
		}
		found = true
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(e.Value, &v)
		if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.Tag != asn1.TagUTF8String || !utf8.Valid(v.Bytes) {
			return "", errors.New("the role in the certificate is no UTF8String")
		}
		role = string(v.Bytes)
	}
	return role, nil
}

// Files are the PEM files that a secure door needs.
type Files struct {
	Certificate string // ours, with its chain
	Key         string
	CA          string // who signs the certificates of masters
}

// TLS is the config of a secure door: TLS 1.2 or later, and every master proves who it is.
func (f Files) TLS() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", f.Certificate, f.Key, err)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("certificate authority %s: no certificate in it", f.CA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}, nil
}
