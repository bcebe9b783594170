// Package pki is a private certificate authority in a directory, for sites that need TLS with
// mutual authentication and have no other authority. Keys are ECDSA P-256, files PEM, keys readable
// by their owner only. Each step leaves either the old or the new files.
//
//	ca.crt, ca.key        the authority
//	ca.crl                the revoked certificates, signed by it
//	NAME.pem              the last certificate issued to NAME: key, certificate and the authority's; a listener
//	                      uses it as both key and certificate file
//	NAME.crt              the same without the key
//	issued/SERIAL.crt     every certificate ever issued
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Validity periods.
const (
	caTime = 20 * 365 * 24 * time.Hour
	skew   = time.Hour // allowed difference between clocks
)

// Authority is a certificate authority in a directory.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Create creates an authority called name in dir, which must not have one yet.
func Create(dir, name string, now time.Time) (*Authority, error) {
	if _, err := os.Stat(filepath.Join(dir, "ca.crt")); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has an authority already", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, "issued"), 0o700); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-skew), NotAfter: now.Add(caTime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, cert: cert, key: key}
	secret, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	if err := a.write("ca.key", secret, 0o600); err != nil {
		return nil, err
	}
	if err := a.write("ca.crt", certPEM(der), 0o644); err != nil {
		return nil, err
	}
	return a, a.sign(nil, 1, now)
}

// Open opens the authority in dir.
func Open(dir string) (*Authority, error) {
	cert, err := readCertificate(filepath.Join(dir, "ca.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no authority yet: gatewayd claim makes one", dir)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no key in it", filepath.Join(dir, "ca.key"))
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "ca.key"), err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, fmt.Errorf("%s: ca.key is not the key of ca.crt", dir)
	}
	return &Authority{dir: dir, cert: cert, key: key}, nil
}

// File returns the path of a file of the authority.
func (a *Authority) File(name string) string { return filepath.Join(a.dir, name) }

// CertificateRequest describes a certificate to be issued.
type CertificateRequest struct {
	Name     string        // subject; also the names of its files: letters, digits, '-', '.', '_'
	Hosts    []string      // DNS names and IP addresses of a server; none: a client certificate
	URI      string        // an identity like spiffe://site/panel; "": none
	Validity time.Duration // at most as long as the authority
	Replace  bool          // allow a new certificate for a name that has one
}

const maxName = 63

func isName(s string) bool {
	return s != "" && len(s) <= maxName && s != "ca" && s[0] != '.' && s[0] != '-' &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// Issue creates a key and its certificate, and replaces the files of that name.
func (a *Authority) Issue(o CertificateRequest, now time.Time) (*x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	secret, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	cert, chain, err := a.certify(o, &key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	// One file, so that key and certificate always match.
	if err := a.write(o.Name+".pem", append(secret, chain...), 0o600); err != nil {
		return nil, err
	}
	return cert, a.write(o.Name+".crt", chain, 0o644)
}

// Certify is Issue for a key that its owner has generated and keeps. request is the owner's
// certificate request (PKCS #10, DER), of which only the key is used. There is no NAME.pem then. It
// returns the certificate and the authority's, as PEM.
func (a *Authority) Certify(o CertificateRequest, request []byte, now time.Time) (chain []byte, err error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if key, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("certificate request: its key is not ECDSA P-256")
	}
	if _, chain, err = a.certify(o, r.PublicKey, now); err != nil {
		return nil, err
	}
	if err := os.Remove(a.File(o.Name + ".pem")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return chain, a.write(o.Name+".crt", chain, 0o644)
}

// certify creates a certificate for a key, and stores it with the issued ones.
func (a *Authority) certify(o CertificateRequest, key any, now time.Time) (cert *x509.Certificate, chain []byte, err error) {
	if !isName(o.Name) {
		return nil, nil, fmt.Errorf("name %q: letters, digits, '.', '-' and '_', 63 at most, and not \"ca\"", o.Name)
	}
	if _, err := os.Stat(a.File(o.Name + ".crt")); err == nil && !o.Replace {
		return nil, nil, fmt.Errorf("%s has a certificate already: renew it", o.Name)
	}
	t, err := a.template(o, now)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return nil, nil, err
	}
	if err := a.write(filepath.Join("issued", t.SerialNumber.Text(16)+".crt"), certPEM(der), 0o644); err != nil {
		return nil, nil, err
	}
	cert, err = x509.ParseCertificate(der)
	return cert, append(certPEM(der), certPEM(a.cert.Raw)...), err
}

func (a *Authority) template(o CertificateRequest, now time.Time) (*x509.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: o.Name}, NotBefore: now.Add(-skew), NotAfter: now.Add(o.Validity),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if o.Validity <= 0 || t.NotAfter.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("the certificate would be valid until %s: it must end later than today, and not after the authority (%s)",
			t.NotAfter.Format(time.DateOnly), a.cert.NotAfter.Format(time.DateOnly))
	}
	if len(o.Hosts) > 0 {
		// A gateway is also a client of others.
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, h := range o.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	if o.URI != "" {
		u, err := url.Parse(o.URI)
		if err != nil || u.Scheme == "" {
			return nil, fmt.Errorf("%q is not a URI with a scheme, such as spiffe://site/panel", o.URI)
		}
		t.URIs = []*url.URL{u}
	}
	return t, nil
}

// Renew issues a new key and certificate with the content of NAME's present certificate.
func (a *Authority) Renew(name string, lasts time.Duration, now time.Time) (*x509.Certificate, error) {
	old, err := readCertificate(a.File(name + ".crt"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s has no certificate: issue it one", name)
	case err != nil:
		return nil, err
	}
	o := CertificateRequest{Name: name, Hosts: slices.Clone(old.DNSNames), Validity: lasts, Replace: true}
	for _, ip := range old.IPAddresses {
		o.Hosts = append(o.Hosts, ip.String())
	}
	if len(old.URIs) > 0 {
		o.URI = old.URIs[0].String()
	}
	return a.Issue(o, now)
}

// Issued is a certificate in the result of List.
type Issued struct {
	*x509.Certificate
	Revoked time.Time // zero: not revoked
}

// List returns all certificates ever issued, oldest first.
func (a *Authority) List() ([]Issued, error) {
	crl, err := a.revocations()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(a.File("issued/*.crt"))
	if err != nil {
		return nil, err
	}
	var all []Issued
	for _, f := range files {
		c, err := readCertificate(f)
		if err != nil {
			return nil, err
		}
		i := Issued{Certificate: c}
		for _, r := range crl.RevokedCertificateEntries {
			if r.SerialNumber.Cmp(c.SerialNumber) == 0 {
				i.Revoked = r.RevocationTime
			}
		}
		all = append(all, i)
	}
	slices.SortStableFunc(all, func(a, b Issued) int { return a.NotBefore.Compare(b.NotBefore) })
	return all, nil
}

// Revoke adds certificates to the revocation list: the one with the serial number what
// (hexadecimal), or all that were issued to the name what and are neither revoked nor expired. It
// returns them.
func (a *Authority) Revoke(what string, now time.Time) ([]*x509.Certificate, error) {
	crl, err := a.revocations()
	if err != nil {
		return nil, err
	}
	all, err := a.List()
	if err != nil {
		return nil, err
	}
	var hit []*x509.Certificate
	entries := crl.RevokedCertificateEntries
	for _, c := range all {
		if c.Revoked.IsZero() && (c.Subject.CommonName == what && now.Before(c.NotAfter) || c.SerialNumber.Text(16) == strings.ToLower(what)) {
			hit = append(hit, c.Certificate)
			entries = append(entries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now})
		}
	}
	if len(hit) == 0 {
		return nil, fmt.Errorf("no certificate in force was issued to %q or has that serial number", what)
	}
	return hit, a.sign(entries, crl.Number.Int64()+1, now)
}

func (a *Authority) revocations() (*x509.RevocationList, error) {
	text, err := os.ReadFile(a.File("ca.crl"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s: no revocation list in it", a.File("ca.crl"))
	}
	crl, err := x509.ParseRevocationList(block.Bytes)
	if err == nil {
		err = crl.CheckSignatureFrom(a.cert)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.File("ca.crl"), err)
	}
	return crl, nil
}

// sign signs the list. The list does not expire before the authority: it is used where the
// authority is, and an unattended gateway must not lock everybody out.
func (a *Authority) sign(entries []x509.RevocationListEntry, number int64, now time.Time) error {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: now.Add(-skew), NextUpdate: a.cert.NotAfter, RevokedCertificateEntries: entries,
	}, a.cert, a.key)
	if err != nil {
		return err
	}
	return a.write("ca.crl", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), 0o644)
}
