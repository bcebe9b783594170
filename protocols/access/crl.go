package access

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Lists say which certificates are revoked (RFC 5280 §5), and since when that is no longer known. They do not change.
type Lists struct {
	revoked map[string]bool // by issuer and serial number
	serials map[string]bool // of any issuer, hexadecimal
	until   time.Time       // when the first of them is to be renewed; zero: there are none
	trouble error           // why they could not be read
	lenient bool
}

// ErrLists is why nobody comes in by a certificate when it is not known which ones are revoked.
var ErrLists = errors.New("which certificates are revoked is not known")

// NewLists reads lists, PEM or DER, each signed by one of the authorities, and delta lists beside the ones that they change. serials are revoked
// beside them, whoever issued them. lenient lets certificates in although a list is too old or was not read.
func NewLists(texts [][]byte, authorities []*x509.Certificate, serials []string, lenient bool) (*Lists, error) {
	l := &Lists{revoked: map[string]bool{}, serials: map[string]bool{}, lenient: lenient}
	for _, s := range serials {
		l.serials[strings.TrimLeft(strings.ToLower(strings.ReplaceAll(s, ":", "")), "0")] = true
	}
	var deltas []*x509.RevocationList
	for _, text := range texts {
		crl, err := parseList(text, authorities)
		if err != nil {
			return nil, err
		}
		if l.until.IsZero() || crl.NextUpdate.Before(l.until) {
			l.until = crl.NextUpdate
		}
		if isDelta(crl) {
			deltas = append(deltas, crl)
			continue
		}
		l.take(crl)
	}
	for _, d := range deltas { // whatever the order of the files
		l.take(d)
	}
	return l, nil
}

// Unread are lists that could not be read: nobody comes in by a certificate, unless lenient.
func Unread(why error, serials []string, lenient bool) *Lists {
	l, _ := NewLists(nil, nil, serials, lenient) // of no list nothing can be wrong
	l.trouble = why
	return l
}

const removeFromCRL = 8 // reason code, RFC 5280 §5.3.1

func (l *Lists) take(crl *x509.RevocationList) {
	for _, e := range crl.RevokedCertificateEntries {
		key := certKey(crl.RawIssuer, e.SerialNumber)
		if e.ReasonCode == removeFromCRL {
			delete(l.revoked, key)
			continue
		}
		l.revoked[key] = true
	}
}

func parseList(text []byte, authorities []*x509.Certificate) (*x509.RevocationList, error) {
	if block, _ := pem.Decode(text); block != nil {
		text = block.Bytes
	}
	crl, err := x509.ParseRevocationList(text)
	if err != nil {
		return nil, err
	}
	for _, ca := range authorities {
		if bytes.Equal(ca.RawSubject, crl.RawIssuer) && crl.CheckSignatureFrom(ca) == nil {
			return crl, nil
		}
	}
	return nil, fmt.Errorf("the list of %s is signed by none of the authorities", crl.Issuer)
}

var deltaIndicator = asn1.ObjectIdentifier{2, 5, 29, 27}

func isDelta(crl *x509.RevocationList) bool {
	for _, e := range crl.Extensions {
		if e.Id.Equal(deltaIndicator) {
			return true
		}
	}
	return false
}

func certKey(issuer []byte, serial *big.Int) string { return string(issuer) + "\x00" + serial.Text(16) }

// Refuse is why nobody comes in by a certificate at all; nil: they may.
func (l *Lists) Refuse(now time.Time) error {
	if err := l.Trouble(now); err != nil && !l.lenient {
		return fmt.Errorf("%w: %w", ErrLists, err)
	}
	return nil
}

// Trouble is what is wrong with the lists at a moment.
func (l *Lists) Trouble(now time.Time) error {
	switch {
	case l == nil:
		return nil
	case l.trouble != nil:
		return l.trouble
	case !l.until.IsZero() && now.After(l.until):
		return fmt.Errorf("a list was to be renewed at %s", l.until.UTC().Format(time.RFC3339))
	}
	return nil
}

func (l *Lists) has(c *x509.Certificate) bool {
	return l != nil && c != nil && (l.serials[c.SerialNumber.Text(16)] || l.revoked[certKey(c.RawIssuer, c.SerialNumber)])
}
