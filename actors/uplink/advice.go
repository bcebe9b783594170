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
		return "set tls.ca-file to the authority that has signed its certificate"
	case errors.As(err, &host):
		return "set tls.server-name to a name in its certificate"
	case errors.As(err, &plain):
		return "it does not speak TLS"
	case errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate required"):
		return "it requires a certificate: set tls.cert-file and tls.key-file"
	case errors.As(err, &alert) && alert.Op == "remote error" && strings.Contains(alert.Err.Error(), "certificate"):
		return "it does not accept the certificate of tls.cert-file"
	}
	return ""
}
