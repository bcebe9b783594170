package access

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// CRLs say which certificates are revoked (RFC 5280 §5), and until when that is known. They are
// immutable.
type CRLs struct {
	revoked map[string]bool // by issuer and serial number
	serials map[string]bool // of any issuer, hexadecimal
	until   time.Time       // when the first of them is due for renewal; zero: none ever is
	trouble error           // why they could not be read
	lenient bool
}

// ErrRevocationUnknown is returned for every certificate while the revoked ones are unknown.
var ErrRevocationUnknown = errors.New("it is not known which certificates are revoked")

// ErrDelta is returned for a delta list that cannot be applied, because a part of what it changes
// is unknown.
var ErrDelta = errors.New("a delta revocation list does not fit its base list")

// NewCRLs reads lists in PEM (any number in one text) or DER, each signed by one of the
// authorities, and delta lists that apply to them. serials are revoked as well, whatever their
// issuer. With lenient, certificates are accepted although a list is too old or could not be read.
func NewCRLs(texts [][]byte, authorities []*x509.Certificate, serials []string, lenient bool) (*CRLs, error) {
	l := &CRLs{revoked: map[string]bool{}, serials: map[string]bool{}, lenient: lenient}
	for _, s := range serials {
		l.serials[strings.TrimLeft(strings.ToLower(strings.ReplaceAll(s, ":", "")), "0")] = true
	}
	var deltas []*x509.RevocationList
	numbers := map[string]*big.Int{} // number of the newest list of each issuer; nil: it has none
	for _, text := range texts {
		crls, err := parseLists(text, authorities)
		if err != nil {
			return nil, err
		}
		for _, crl := range crls {
			if !crl.NextUpdate.IsZero() && (l.until.IsZero() || crl.NextUpdate.Before(l.until)) {
				l.until = crl.NextUpdate
			}
			if isDelta(crl) {
				deltas = append(deltas, crl)
				continue
			}
			l.take(crl)
			if n, ok := numbers[string(crl.RawIssuer)]; !ok || n == nil || crl.Number != nil && crl.Number.Cmp(n) > 0 {
				numbers[string(crl.RawIssuer)] = crl.Number
			}
		}
	}
	return l, l.change(deltas, numbers)
}

// change applies delta lists, in whatever order their files are (RFC 5280 §5.2.4). Entries already
// contained in the base list may have changed again since.
func (l *CRLs) change(deltas []*x509.RevocationList, numbers map[string]*big.Int) error {
	for _, d := range deltas {
		base, ok := numbers[string(d.RawIssuer)]
		from := baseOf(d)
		switch {
		case !ok:
			return fmt.Errorf("%w: the base list of %s is missing", ErrDelta, d.Issuer)
		case base == nil || from == nil || d.Number == nil:
			return fmt.Errorf("%w: it or the base list of %s has no number", ErrDelta, d.Issuer)
		case from.Cmp(base) > 0:
			return fmt.Errorf("%w: it needs list %d of %s, but the base list is older: %d", ErrDelta, from, d.Issuer, base)
		}
	}
	slices.SortStableFunc(deltas, func(a, b *x509.RevocationList) int { return a.Number.Cmp(b.Number) })
	for _, d := range deltas {
		if d.Number.Cmp(numbers[string(d.RawIssuer)]) > 0 {
			l.take(d)
		}
	}
	return nil
}

// UnreadableCRLs returns the lists to use when the lists could not be read: no certificate is
// accepted, unless lenient. Certificates on the previous lists stay revoked.
func UnreadableCRLs(why error, before *CRLs, serials []string, lenient bool) *CRLs {
	l, _ := NewCRLs(nil, nil, serials, lenient) // without lists there can be no error
	l.trouble = why
	if before != nil {
		l.revoked = before.revoked
	}
	return l
}

const removeFromCRL = 8 // reason code, RFC 5280 §5.3.1

func (l *CRLs) take(crl *x509.RevocationList) {
	for _, e := range crl.RevokedCertificateEntries {
		key := certKey(crl.RawIssuer, e.SerialNumber)
		if e.ReasonCode == removeFromCRL {
			delete(l.revoked, key)
			continue
		}
		l.revoked[key] = true
	}
}

// parseLists reads one text.
func parseLists(text []byte, authorities []*x509.Certificate) ([]*x509.RevocationList, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		crl, err := parseList(text, authorities)
		return []*x509.RevocationList{crl}, err
	}
	var all []*x509.RevocationList
	for ; block != nil; block, rest = pem.Decode(rest) {
		crl, err := parseList(block.Bytes, authorities)
		if err != nil {
			return nil, err
		}
		all = append(all, crl)
	}
	return all, nil
}

func parseList(der []byte, authorities []*x509.Certificate) (*x509.RevocationList, error) {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	for _, ca := range authorities {
		if bytes.Equal(ca.RawSubject, crl.RawIssuer) && crl.CheckSignatureFrom(ca) == nil {
			return crl, nil
		}
	}
	return nil, fmt.Errorf("the revocation list of %s is not signed by an authority in ca-file", crl.Issuer)
}

var deltaIndicator = asn1.ObjectIdentifier{2, 5, 29, 27}

func isDelta(crl *x509.RevocationList) bool {
	return slices.ContainsFunc(crl.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(deltaIndicator) })
}

// baseOf returns the number of the list that a delta list changes; nil: it names none.
func baseOf(delta *x509.RevocationList) *big.Int {
	for _, e := range delta.Extensions {
		number := new(big.Int)
		if rest, err := asn1.Unmarshal(e.Value, &number); e.Id.Equal(deltaIndicator) && err == nil && len(rest) == 0 {
			return number
		}
	}
	return nil
}

func certKey(issuer []byte, serial *big.Int) string { return string(issuer) + "\x00" + serial.Text(16) }

// Refuse returns why no certificate is accepted at all; nil: certificates are accepted.
func (l *CRLs) Refuse(now time.Time) error {
	if err := l.Trouble(now); err != nil && !l.lenient {
		return fmt.Errorf("%w: %w", ErrRevocationUnknown, err)
	}
	return nil
}

// Trouble returns what is wrong with the lists at a moment.
func (l *CRLs) Trouble(now time.Time) error {
	switch {
	case l == nil:
		return nil
	case l.trouble != nil:
		return l.trouble
	case !l.until.IsZero() && now.After(l.until):
		return fmt.Errorf("a revocation list expired at %s", l.until.UTC().Format(time.RFC3339))
	}
	return nil
}

func (l *CRLs) has(c *x509.Certificate) bool {
	return l != nil && c != nil && (l.serials[c.SerialNumber.Text(16)] || l.revoked[certKey(c.RawIssuer, c.SerialNumber)])
}
