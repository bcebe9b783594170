package ocsp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// signer is a certificate with its key.
type signer struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue returns a certificate signed by by; nil: self-signed.
func issue(t testing.TB, by *signer, template x509.Certificate) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, with := &template, key
	if by != nil {
		parent, with = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, with)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{cert, key}
}

func authority(t testing.TB, name string, by *signer) *signer {
	return issue(t, by, x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	})
}

func leaf(t testing.TB, by *signer, serial int64, usage ...x509.ExtKeyUsage) *signer {
	return issue(t, by, x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "leaf"}, ExtKeyUsage: usage})
}

// says returns an answer signed by by about serial 7 of ca.
func says(t testing.TB, ca, by *signer, r ocsp.Response) []byte {
	t.Helper()
	if r.SerialNumber == nil {
		r.SerialNumber = big.NewInt(7)
	}
	if r.ThisUpdate.IsZero() {
		r.ThisUpdate = time.Now().Add(-time.Minute)
	}
	if by != ca || ca.Subject.CommonName == "sub" {
		r.Certificate = by.Certificate
	}
	text, err := ocsp.CreateResponse(ca.Certificate, by.Certificate, r, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ask(t testing.TB, ca *signer, cert *signer) question {
	t.Helper()
	q, err := newQuestion(cert.Certificate, ca.Certificate, "http://x")
	if err != nil {
		t.Fatal(err)
	}
	return *q
}

func TestAnswersThatAreTrusted(t *testing.T) {
	root := authority(t, "root", nil)
	sub := authority(t, "sub", root)
	other := authority(t, "root", nil) // the same name, another key
	now := time.Now()
	old := issue(t, root, x509.Certificate{SerialNumber: big.NewInt(9), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, NotAfter: now.Add(-time.Minute)})
	for name, tt := range map[string]struct {
		ca, by  *signer
		r       ocsp.Response
		revoked bool
		err     string
	}{
		"good":                    {ca: root, by: root},
		"revoked":                 {ca: root, by: root, r: ocsp.Response{Status: ocsp.Revoked, RevokedAt: now}, revoked: true},
		"unknown":                 {ca: root, by: root, r: ocsp.Response{Status: ocsp.Unknown}, err: "does not know"},
		"a subordinate itself":    {ca: sub, by: sub},
		"whom it lets":            {ca: root, by: leaf(t, root, 8, x509.ExtKeyUsageOCSPSigning)},
		"a client of it":          {ca: root, by: leaf(t, root, 8, x509.ExtKeyUsageClientAuth), err: "not allowed to sign"},
		"whom it let":             {ca: root, by: old, err: "valid only from"},
		"whom another lets":       {ca: root, by: leaf(t, other, 8, x509.ExtKeyUsageOCSPSigning), err: "cannot be trusted"},
		"another of its name":     {ca: root, by: other, err: "cannot be trusted"},
		"too old":                 {ca: root, by: root, r: ocsp.Response{ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(-time.Minute)}, err: "its answer expired"},
		"old, without an end":     {ca: root, by: root, r: ocsp.Response{ThisUpdate: now.Add(-maxAge - time.Minute)}, err: "has no expiry"},
		"of tomorrow":             {ca: root, by: root, r: ocsp.Response{ThisUpdate: now.Add(time.Hour)}, err: "valid only from"},
		"about somebody else":     {ca: root, by: root, r: ocsp.Response{SerialNumber: big.NewInt(6)}, err: "no response matching"},
		"until":                   {ca: root, by: root, r: ocsp.Response{NextUpdate: now.Add(time.Hour)}},
		"clocks that differ some": {ca: root, by: root, r: ocsp.Response{ThisUpdate: now.Add(time.Minute)}},
	} {
		a, err := ask(t, tt.ca, leaf(t, tt.ca, 7)).read(says(t, tt.ca, tt.by, tt.r), now)
		switch {
		case tt.err == "" && (err != nil || a.revoked != tt.revoked || !a.until.Equal(tt.r.NextUpdate.Truncate(time.Second))):
			t.Errorf("%s: %v, %v", name, a, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s: %v, want %q", name, err, tt.err)
		}
	}
}

// An authority may answer for other authorities too, whose certificates have the same serial
// numbers.
func TestAnswersAboutAnotherAuthority(t *testing.T) {
	root := authority(t, "root", nil)
	sub := authority(t, "sub", root)
	q := ask(t, root, leaf(t, root, 7))
	if _, err := q.read(says(t, sub, root, ocsp.Response{}), time.Now()); err == nil || !strings.Contains(err.Error(), "of another authority") {
		t.Error(err)
	}
}

// A revoked certificate stays revoked, whatever older answers say.
func TestOlderAnswers(t *testing.T) {
	root := authority(t, "root", nil)
	r, cert := newResponder(t), leaf(t, root, 7)
	tell := func(a ocsp.Response) {
		text := says(t, root, root, a)
		f := func(w http.ResponseWriter) { _, _ = w.Write(text) }
		r.answer.Store(&f)
	}
	now := time.Now()
	c := New(r.URL, []*x509.Certificate{root.Certificate}, time.Second)
	tell(ocsp.Response{Status: ocsp.Revoked, RevokedAt: now, ThisUpdate: now.Add(-time.Minute)})
	c.Ask(t.Context(), cert.Certificate, now)
	tell(ocsp.Response{ThisUpdate: now.Add(-2 * time.Minute), NextUpdate: now.Add(time.Hour)})
	c.Renew(t.Context(), now.Add(time.Minute))
	if r.asked.Load() != 2 || !c.Revoked(cert.Certificate) || !strings.Contains(c.Trouble(), "older than the previous one") {
		t.Error(r.asked.Load(), c.Revoked(cert.Certificate), c.Trouble())
	}
	tell(ocsp.Response{ThisUpdate: now})
	c.Renew(t.Context(), now.Add(2*time.Minute))
	if c.Revoked(cert.Certificate) || c.Trouble() != "" {
		t.Error(c.Revoked(cert.Certificate), c.Trouble())
	}
}

// responder gives the answer it was set to, and counts requests.
type responder struct {
	*httptest.Server
	answer atomic.Pointer[func(http.ResponseWriter)]
	asked  atomic.Int32
}

func newResponder(t *testing.T) *responder {
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.asked.Add(1)
		(*r.answer.Load())(w)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) says(text []byte) {
	r.does(func(w http.ResponseWriter) { _, _ = w.Write(text) })
}

func (r *responder) does(answer func(http.ResponseWriter)) { r.answer.Store(&answer) }

func TestClient(t *testing.T) {
	root := authority(t, "root", nil)
	now := time.Now()
	cert := issue(t, root, x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: now.Add(24 * time.Hour)}).Certificate
	r := newResponder(t)
	c := New(r.URL, []*x509.Certificate{root.Certificate}, time.Hour)
	if err := c.Err(cert, now); err == nil || c.Revoked(cert) || !c.Due(now) {
		t.Errorf("before anything was asked: %v", err)
	}
	r.says(says(t, root, root, ocsp.Response{NextUpdate: now.Add(time.Hour)}))
	for range 3 {
		c.Ask(t.Context(), cert, now)
	}
	if err := c.Err(cert, now); err != nil || r.asked.Load() != 1 || c.Due(now) || c.Turned() {
		t.Errorf("good: %v, asked %d times", err, r.asked.Load())
	}
	if later := now.Add(31 * time.Minute); !c.Due(later) { // half of its validity
		t.Error("an answer is not renewed before it ends")
	}

	// While the responder is silent, the answer is valid until it ends.
	r.does(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	c.Renew(t.Context(), now.Add(31*time.Minute))
	if err := c.Err(cert, now); err != nil || !strings.Contains(c.Trouble(), "502") {
		t.Errorf("silent: %v, trouble %q", err, c.Trouble())
	}
	if err := c.Err(cert, now.Add(61*time.Minute)); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("ended: %v", err)
	}

	r.says(says(t, root, root, ocsp.Response{Status: ocsp.Revoked, RevokedAt: now}))
	c.Renew(t.Context(), now.Add(61*time.Minute))
	if !c.Revoked(cert) || !c.Turned() || c.Turned() || c.Trouble() != "" {
		t.Errorf("revoked %v, trouble %q", c.Revoked(cert), c.Trouble())
	}
	r.says(says(t, root, root, ocsp.Response{}))
	c.Renew(t.Context(), now.Add(3*time.Hour))
	if c.Revoked(cert) {
		t.Error("a hold that was lifted is still there")
	}
	c.Renew(t.Context(), now.Add(48*time.Hour)) // the certificate has expired
	if c.Due(now.Add(48 * time.Hour)) {
		t.Error("somebody is asked about a certificate that has ended")
	}
}

// If no responder is to be asked, the state is known; if the required responder cannot be asked, it
// is unknown.
func TestWhoIsAsked(t *testing.T) {
	root, other := authority(t, "root", nil), authority(t, "other", nil)
	named := issue(t, root, x509.Certificate{SerialNumber: big.NewInt(7), OCSPServer: []string{"ldap://x", "http://y"}}).Certificate
	plain, foreign := leaf(t, root, 8).Certificate, leaf(t, other, 8).Certificate
	now := time.Now()
	for _, tt := range []struct {
		url  string
		cert *x509.Certificate
		want string // in the error
	}{
		{"", plain, ""}, {"", foreign, ""}, {"", named, "http://y has not been asked"},
		{"http://z", plain, "http://z has not been asked"}, {"http://z", named, "http://z has not been asked"}, {"http://z", foreign, "not an authority"},
	} {
		err := New(tt.url, []*x509.Certificate{root.Certificate}, time.Hour).Err(tt.cert, now)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.url, err, tt.want)
		}
	}
	var nobody *Client
	nobody.Ask(t.Context(), named, now)
	if nobody.Err(named, now) != nil || nobody.Revoked(named) || nobody.Due(now) || nobody.Turned() || nobody.Trouble() != "" {
		t.Error("somebody is to be asked although nobody is configured")
	}
}

// A client waits no longer than its deadline, does not repeat a request under way, and leaves the
// rest to Renew.
func TestSilentResponder(t *testing.T) {
	root := authority(t, "root", nil)
	cert := leaf(t, root, 7).Certificate
	r := newResponder(t)
	goOn := make(chan struct{})
	text := says(t, root, root, ocsp.Response{})
	r.does(func(w http.ResponseWriter) { <-goOn; _, _ = w.Write(text) })
	c := New(r.URL, []*x509.Certificate{root.Certificate}, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	second := make(chan struct{})
	go func() { c.Ask(ctx, cert, time.Now()); close(second) }()
	c.Ask(ctx, cert, time.Now())
	<-second
	if err := c.Err(cert, time.Now()); err == nil || !strings.Contains(err.Error(), "no answer in time") || !c.Due(time.Now()) {
		t.Errorf("%v", err)
	}
	close(goOn)
	c.Renew(t.Context(), time.Now())
	if err := c.Err(cert, time.Now()); err != nil {
		t.Error(err)
	}
}

func FuzzAnswer(f *testing.F) {
	root := authority(f, "root", nil)
	q := ask(f, root, leaf(f, root, 7))
	good := says(f, root, root, ocsp.Response{})
	f.Add(good)
	f.Add(says(f, root, leaf(f, root, 8, x509.ExtKeyUsageOCSPSigning), ocsp.Response{Status: ocsp.Revoked, RevokedAt: time.Now()}))
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 0x06})
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := q.read(text, time.Now()); err == nil && !a.until.IsZero() && a.until.Before(time.Now()) {
			t.Error("an old answer is taken")
		}
	})
}
