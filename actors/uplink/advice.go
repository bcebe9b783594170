package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// advice returns a hint for the operator about a failed TLS handshake. It is empty if the error
// itself says enough or no remedy is known.
func advice(err error) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var plain tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case errors.As(err, &authority):
		return "whose word counts is said by tls.ca-file"
	case errors.As(err, &host):
		return "for whom its certificate must be is said by tls.server-name"
	case errors.As(err, &plain):
		return "nobody speaks TLS there"
	case errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate required"):
		return "it wants a certificate: tls.cert-file and tls.key-file"
	case errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate"):
		return "it does not accept the certificate of tls.cert-file"
	}
	return ""
}
