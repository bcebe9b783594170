package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"

	"gatewayd/protocols/tlsfiles"
)

// RoleOID identifies the certificate extension that contains the owner's role (MODBUS/TCP Security
// V36, R-21).
var RoleOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 50316, 802, 1}

// RoleOf returns the role that the other side of a connection has proven; empty: its certificate
// contains none.
func RoleOf(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", nil
	}
	return Role(s.PeerCertificates[0])
}

// Role returns the role in a certificate: the single UTF8String in the extension RoleOID.
// More than one role, or one in another form, is an error: such a certificate was issued by mistake
// or by fraud and grants no role.
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
			return "", errors.New("the role in the certificate is not a UTF8String")
		}
		role = string(v.Bytes)
	}
	return role, nil
}

// Files are the PEM files of a secure door.
type Files struct {
	Certificate string // the server's certificate, with its chain
	Key         string
	CA          string // the authority that signs the certificates of masters
}

// TLS returns the config of a secure door: TLS 1.2 or later, and every master must authenticate
// . A resumed session keeps its role if its certificate is still valid
// and its authority is still trusted; crypto/tls checks that.
func (f Files) TLS() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("cert-file %s with key-file %s: %w", f.Certificate, f.Key, err)
	}
	pool, err := authorities(f.CA)
	if err != nil {
		return nil, fmt.Errorf("ca-file %s: %w", f.CA, err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
		CipherSuites: tlsfiles.Suites(),
	}, nil
}

// authorities reads a PEM file with any number of certificates. If one of them cannot be read, the
// whole file is rejected: who is admitted must not depend on a mistake that nobody is told about.
func authorities(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("the file holds a %s, but only certificates are allowed", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", n+1, err)
		}
		pool.AddCert(c)
		n++
	}
	if n == 0 {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
