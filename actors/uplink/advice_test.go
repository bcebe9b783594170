package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestAdvice(t *testing.T) {
	for want, err := range map[string]error{
		"whose word counts is said by tls.ca-file":                    fmt.Errorf("broker: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"for whom its certificate must be is said by tls.server-name": &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}},
		"nobody speaks TLS there":                                     tls.RecordHeaderError{Msg: "no"},
		"it wants a certificate: tls.cert-file and tls.key-file":      &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")},
		"it does not accept the certificate of tls.cert-file":         &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"": &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")},
	} {
		if got := advice(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
