package uplink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

// advice is what can be done about a far end with which there is no TLS; empty: the error says it, or nobody knows.
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
