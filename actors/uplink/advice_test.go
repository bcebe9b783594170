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
		"set tls.ca-file to the authority that has signed its certificate": fmt.Errorf("broker: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}),
		"set tls.server-name to a name in its certificate":                 &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}},
		"it does not speak TLS":                                            tls.RecordHeaderError{Msg: "no"},
		"it requires a certificate: set tls.cert-file and tls.key-file":    &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")},
		"it does not accept the certificate of tls.cert-file":              &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"": &net.OpError{Op: "remote error", Err: errors.New("tls: internal error")},
	} {
		if got := advice(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
