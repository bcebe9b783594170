package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// NotAccepted is the prefix of the Reason for a connection whose far end has rejected our
// certificate.
const NotAccepted = "the device refuses the connection"

// Reason describes, in an operator's terms, what is wrong with a connection. err is an error of
// this package or of reading or writing.
func Reason(err error) string {
	var shake *handshakeError
	var number syscall.Errno
	var name *net.DNSError
	var file *fileError
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &file):
		return file.Error()
	case alert(err) != "":
		return NotAccepted + ": " + alert(err)
	case errors.As(err, &shake) && late:
		return "the TLS handshake does not end"
	case errors.As(err, &shake):
		return shaken(shake.err)
	case errors.As(err, &number):
		return number.Error()
	case errors.As(err, &name):
		return name.Err
	case late:
		return "no answer"
	case errors.Is(err, io.EOF):
		return "closed by the device"
	}
	return err.Error()
}

// alert returns the alert that a TLS peer sent before it closed the connection. With TLS 1.3, a
// peer verifies our certificate only after the handshake.
func alert(err error) string {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return ""
	}
	said := strings.TrimPrefix(op.Err.Error(), "tls: ")
	switch said {
	case "bad certificate", "unknown certificate", "unsupported certificate", "unknown certificate authority", "certificate required",
		"expired certificate", "revoked certificate":
		return fmt.Sprintf("TLS alert %q for our certificate", said)
	case "access denied":
		return "the device grants no access to the role in our certificate"
	}
	return fmt.Sprintf("TLS alert %q", said)
}

// shaken returns why the handshake failed.
func shaken(err error) string {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the device's certificate is valid from %s to %s only (now: %s)",
			day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(time.Now()))
	case errors.As(err, &invalid):
		return "the device's certificate: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case errors.As(err, &host):
		return "the device's certificate is for another name: " + strings.TrimPrefix(host.Error(), "x509: ")
	case errors.As(err, &unknown):
		return "the device's certificate is signed by an authority that is not in ca"
	case errors.As(err, &record):
		return "the device does not speak TLS on this port"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "the device closed the connection in the TLS handshake"
	}
	return "TLS handshake: " + strings.TrimPrefix(err.Error(), "tls: ")
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }
