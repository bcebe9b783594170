package dial

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// Files are the PEM files with which both sides of a Modbus/TCP Security connection authenticate.
type Files struct {
	Certificate string // our certificate, with our role, and its chain
	Key         string // the key of our certificate
	CA          string // the authority that signs the far end's certificate, or that certificate itself
	Name        string // the far end's name in its certificate
}

// TLS connects as TCP does and performs the handshake: TLS 1.2 or later, with both sides
// authenticated (Modbus/TCP Security V36, R-01, R-06 to R-08). The files are read for each
// connection. If CA contains the far end's certificate itself, its name is not checked.
func TLS(ctx context.Context, address string, dead time.Duration, f Files) (*tls.Conn, error) {
	cfg, err := f.config()
	if err != nil {
		return nil, err
	}
	far, err := TCP(ctx, address, dead)
	if err != nil {
		return nil, err
	}
	c := tls.Client(far, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = far.Close()
		if ctx.Err() != nil {
			return nil, &handshakeError{ctx.Err()}
		}
		return nil, &handshakeError{err}
	}
	return c, nil
}

// handshakeError is a failed TLS handshake on an established connection.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// fileError is a fault in our own files.
type fileError struct{ err error }

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

func (f Files) config() (*tls.Config, error) {
	own, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, &fileError{fmt.Errorf("cert-file %s with key-file %s: %w", f.Certificate, f.Key, err)}
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, &fileError{fmt.Errorf("ca-file: %w", err)}
	}
	trusted, err := certificates(text)
	if err != nil {
		return nil, &fileError{fmt.Errorf("ca-file %s: %w", f.CA, err)}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: f.Name,
		// Sent whatever authorities the far end lists: it then reports what is wrong with the
		// certificate, not that there is none.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil },
		// The default verification does not support pinned certificates; VerifyConnection does all
		// its checks.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verify(s.PeerCertificates, trusted, f.Name, time.Now()) },
	}, nil
}

func certificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return all, nil
}

// verify verifies the chain sent by the far end.
func verify(shown, trusted []*x509.Certificate, name string, now time.Time) error {
	if len(shown) == 0 {
		return errors.New("the far end has shown no certificate")
	}
	leaf := shown[0]
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range trusted {
		if bytes.Equal(c.Raw, leaf.Raw) {
			return current(leaf, now)
		}
		roots.AddCert(c)
	}
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, DNSName: name, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

func current(c *x509.Certificate, now time.Time) error {
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return x509.CertificateInvalidError{Cert: c, Reason: x509.Expired}
	}
	return nil
}
