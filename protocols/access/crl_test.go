package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/access"
)

// ca is a certificate authority for tests.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T, name string) ca {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := ca{key: key}
	c.cert = c.issue(t, name, 1, nil)
	return c
}

func (a ca) issue(t *testing.T, name string, serial int64, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: begin.Add(-time.Hour), NotAfter: begin.Add(time.Hour),
		IsCA: parent == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// list returns a revocation list; a delta list if base is not 0.
func (a ca) list(t *testing.T, number, base int64, entries ...x509.RevocationListEntry) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: begin, NextUpdate: begin.Add(time.Hour), RevokedCertificateEntries: entries}
	if base != 0 {
		value, err := asn1.Marshal(big.NewInt(base))
		if err != nil {
			t.Fatal(err)
		}
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: value}}
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func entry(serial int64, reason int) x509.RevocationListEntry {
	return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: begin, ReasonCode: reason}
}

var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRevokedCertificates(t *testing.T) {
	ours, other := newCA(t, "ours"), newCA(t, "other")
	certs := map[int64]*x509.Certificate{}
	for _, serial := range []int64{7, 8, 9, 0xab} {
		certs[serial] = ours.issue(t, "panel", serial, ours.cert)
	}
	foreign := other.issue(t, "panel", 7, other.cert)
	lists, err := access.NewCRLs([][]byte{
		// A delta list before its base list: 8 is revoked as well, 9 no longer.
		ours.list(t, 2, 1, entry(8, 0), entry(9, 8)),
		ours.list(t, 1, 0, entry(7, 0), entry(9, 6)),
	}, []*x509.Certificate{ours.cert}, []string{"00:AB"}, false)
	if err != nil {
		t.Fatal(err)
	}
	with := func(l *access.CRLs) *access.Policy {
		p := policy(t, access.Credentials{Name: "panel", Certificates: []string{"CN:panel"}, Roles: []string{"viewer"}})
		p.Revoke(l, nil)
		return p
	}
	p := with(lists)
	for cert, want := range map[*x509.Certificate]error{
		certs[7]: access.ErrListed, certs[8]: access.ErrListed, certs[9]: nil, certs[0xab]: access.ErrListed, foreign: nil,
	} {
		if id, err := p.Certificate(cert, begin); !errors.Is(err, want) || err == nil && id.Name != "panel" {
			t.Errorf("%s %x: %v, want %v", cert.Issuer, cert.SerialNumber, err, want)
		}
	}
	// A client whose certificate is revoked later must leave; another certificate of the same
	// identity stays valid.
	before := with(nil)
	d := access.NewDoor()
	d.Set(before)
	for serial, want := range map[int64]error{7: access.ErrListed, 9: nil} {
		id, err := before.Certificate(certs[serial], begin)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Recheck(id, begin); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", serial, err, want)
		}
		if d.Set(p); (d.Current(id, begin) == nil) != (want != nil) {
			t.Errorf("%d: now %v", serial, d.Current(id, begin))
		}
		if is := d.Current(id, begin.Add(2*time.Hour)); is != nil {
			t.Error("a certificate outlives its time")
		}
	}
	// With lists that are too old, or could not be read, no certificate is accepted, unless
	// lenient.
	late := begin.Add(61 * time.Minute)
	if err := lists.Trouble(begin); err != nil {
		t.Error(err)
	}
	if _, err := p.Certificate(certs[9], late); !errors.Is(err, access.ErrRevocationUnknown) {
		t.Errorf("with an old list: %v", err)
	}
	if _, err := with(access.UnreadableCRLs(errors.New("gone"), nil, nil, false)).Certificate(certs[9], begin); !errors.Is(err, access.ErrRevocationUnknown) {
		t.Errorf("without a list: %v", err)
	}
	if _, err := with(access.UnreadableCRLs(errors.New("gone"), nil, []string{"7"}, true)).Certificate(certs[9], begin); err != nil {
		t.Errorf("lenient: %v", err)
	}
	if _, err := with(access.UnreadableCRLs(errors.New("gone"), nil, []string{"7"}, true)).Certificate(certs[7], begin); !errors.Is(err, access.ErrListed) {
		t.Errorf("lenient, and its number is listed: %v", err)
	}
	if _, err := with(access.UnreadableCRLs(errors.New("gone"), lists, nil, true)).Certificate(certs[7], begin); !errors.Is(err, access.ErrListed) {
		t.Errorf("lenient, and it was listed before: %v", err)
	}
	// A list signed by another authority does not count.
	if _, err := access.NewCRLs([][]byte{other.list(t, 1, 0)}, []*x509.Certificate{ours.cert}, nil, false); err == nil {
		t.Error("a foreign list was believed")
	}
	if _, err := access.NewCRLs([][]byte{[]byte("rubbish")}, []*x509.Certificate{ours.cert}, nil, false); err == nil {
		t.Error("rubbish was believed")
	}
}

// A delta list applies only to a base list that it can change: an older one lacks entries that it
// presupposes, a newer one is more up to date.
func TestDeltaLists(t *testing.T) {
	ours, other := newCA(t, "ours"), newCA(t, "other")
	held, bad := entry(7, 6), entry(7, 1)
	for name, tt := range map[string]struct {
		texts [][]byte
		in    bool // whether the certificate with number 7 is accepted
		err   error
	}{
		"it changes the list":                 {[][]byte{ours.list(t, 3, 0, held), ours.list(t, 4, 2, entry(7, 8))}, true, nil},
		"the list has it already":             {[][]byte{ours.list(t, 4, 0, held), ours.list(t, 4, 2, entry(7, 8))}, false, nil},
		"the list is newer":                   {[][]byte{ours.list(t, 5, 0, bad), ours.list(t, 4, 2, entry(7, 8))}, false, nil},
		"the newest has the last word":        {[][]byte{ours.list(t, 6, 2, bad), ours.list(t, 3, 0, held), ours.list(t, 5, 2, entry(7, 8))}, false, nil},
		"the list is older than what it says": {[][]byte{ours.list(t, 3, 0), ours.list(t, 6, 5, entry(9, 1))}, false, access.ErrDelta},
		"there is no list":                    {[][]byte{ours.list(t, 6, 5, entry(9, 1))}, false, access.ErrDelta},
		"the list is of somebody else":        {[][]byte{other.list(t, 5, 0), ours.list(t, 6, 5, entry(9, 1))}, false, access.ErrDelta},
		"two lists in one file":               {[][]byte{append(other.list(t, 1, 0), ours.list(t, 1, 0, bad)...)}, false, nil},
		"both in one file":                    {[][]byte{append(ours.list(t, 4, 3, entry(7, 8)), ours.list(t, 3, 0, held)...)}, true, nil},
	} {
		lists, err := access.NewCRLs(tt.texts, []*x509.Certificate{ours.cert, other.cert}, nil, false)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", name, err, tt.err)
		}
		if err != nil {
			continue
		}
		p := policy(t, access.Credentials{Name: "panel", Certificates: []string{"CN:panel"}})
		p.Revoke(lists, nil)
		if _, err := p.Certificate(ours.issue(t, "panel", 7, ours.cert), begin); (err == nil) != tt.in {
			t.Errorf("%s: %v", name, err)
		}
	}
	rubbish := append(ours.list(t, 1, 0), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("rubbish")})...)
	if _, err := access.NewCRLs([][]byte{rubbish}, []*x509.Certificate{ours.cert}, nil, false); err == nil {
		t.Error("rubbish behind a list was believed")
	}
}

// endless returns a revocation list without a next update.
func (a ca) endless(t *testing.T) []byte {
	t.Helper()
	var l pkix.CertificateList
	block, _ := pem.Decode(a.list(t, 1, 0))
	if _, err := asn1.Unmarshal(block.Bytes, &l); err != nil {
		t.Fatal(err)
	}
	l.TBSCertList.Raw, l.TBSCertList.NextUpdate = nil, time.Time{}
	text, err := asn1.Marshal(l.TBSCertList)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	sign, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	l.SignatureValue = asn1.BitString{Bytes: sign, BitLength: 8 * len(sign)}
	der, err := asn1.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// A list without a next update never expires, but it does not keep another one from expiring.
func TestListWithoutNextUpdate(t *testing.T) {
	one, other := newCA(t, "one"), newCA(t, "other")
	cas := []*x509.Certificate{one.cert, other.cert}
	for _, texts := range [][][]byte{{one.list(t, 1, 0), other.endless(t)}, {other.endless(t), one.list(t, 1, 0)}} {
		l, err := access.NewCRLs(texts, cas, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Trouble(begin.Add(59 * time.Minute)); err != nil {
			t.Errorf("before the end: %v", err)
		}
		if err := l.Trouble(begin.Add(61 * time.Minute)); err == nil || !strings.Contains(err.Error(), "expired at") {
			t.Errorf("after the end: %v", err)
		}
	}
}
