package ocsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	maxAnswer = 64 << 10        // bytes
	maxWait   = 5 * time.Second // for one answer
	skew      = 5 * time.Minute // allowed difference between the clocks
	maxAge    = time.Hour       // of an answer that does not say when it ends
)

// question is a request about one certificate.
type question struct {
	url    string
	text   []byte // DER
	serial *big.Int
	issuer *x509.Certificate
	ends   time.Time // when the certificate expires, after which no answer is needed
}

// answer is the responder's answer.
type answer struct {
	revoked bool
	at      time.Time // beginning of its validity
	until   time.Time // zero: not stated
}

func newQuestion(cert, issuer *x509.Certificate, url string) (*question, error) {
	text, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("OCSP request: %w", err)
	}
	return &question{url: url, text: text, serial: cert.SerialNumber, issuer: issuer, ends: cert.NotAfter}, nil
}

// put sends the request.
func (q question) put(ctx context.Context, via *http.Client) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	text, err := q.exchange(ctx, via)
	if err != nil {
		return answer{}, fmt.Errorf("OCSP responder %s: %w", q.url, err)
	}
	a, err := q.read(text, time.Now())
	if err != nil {
		return answer{}, fmt.Errorf("OCSP responder %s: certificate %x: %w", q.url, q.serial, err)
	}
	return a, nil
}

func (q question) exchange(ctx context.Context, via *http.Client) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, q.url, bytes.NewReader(q.text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	r.Header.Set("Accept", "application/ocsp-response")
	resp, err := via.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errors.New("no answer in time")
		}
		return nil, errors.Unwrap(err) // without the URL
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
}

// read parses an answer that has been signed by the issuer or by a responder authorised by the
// issuer (RFC 6960 §4.2.2.2).
func (q question) read(text []byte, now time.Time) (answer, error) {
	// Without the issuer: given one, the library rejects an answer that an intermediate authority
	// has signed itself, with its own certificate included.
	r, err := ocsp.ParseResponseForCert(text, &x509.Certificate{SerialNumber: q.serial}, nil)
	switch {
	case err != nil:
		return answer{}, err
	case r.Certificate == nil:
		err = r.CheckSignatureFrom(q.issuer)
	case !r.Certificate.Equal(q.issuer): // the library has verified the signature of the answer
		err = q.mayAnswer(r.Certificate, now)
	}
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("its answer cannot be trusted: %w", err)
	case !q.about(r.TBSResponseData):
		return answer{}, errors.New("its answer is about a certificate of another authority")
	case now.Add(skew).Before(r.ThisUpdate):
		return answer{}, fmt.Errorf("its answer is valid only from %s", r.ThisUpdate.UTC().Format(time.RFC3339))
	case !r.NextUpdate.IsZero() && now.After(r.NextUpdate):
		return answer{}, fmt.Errorf("its answer expired at %s", r.NextUpdate.UTC().Format(time.RFC3339))
	case r.NextUpdate.IsZero() && now.After(r.ThisUpdate.Add(maxAge)):
		return answer{}, fmt.Errorf("its answer is too old: it is from %s and has no expiry", r.ThisUpdate.UTC().Format(time.RFC3339))
	case r.Status == ocsp.Unknown:
		return answer{}, errors.New("it does not know this certificate")
	}
	return answer{revoked: r.Status == ocsp.Revoked, at: r.ThisUpdate, until: r.NextUpdate}, nil
}

// about reports whether the first answer about this serial number is about a certificate of this
// issuer: the library does not check that (RFC 6960 §3.2, §4.2.1).
func (q question) about(text []byte) bool {
	type certID struct {
		Hash            pkix.AlgorithmIdentifier
		NameHash, KeyID []byte
		Serial          *big.Int
	}
	var data struct {
		Version    int `asn1:"optional,default:0,explicit,tag:0"`
		Responder  asn1.RawValue
		ProducedAt time.Time `asn1:"generalized"`
		Responses  []asn1.RawValue
	}
	asked, err := ocsp.ParseRequest(q.text)
	if err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(text, &data); err != nil {
		return false
	}
	for _, r := range data.Responses {
		var id certID
		if _, err := asn1.Unmarshal(r.Bytes, &id); err != nil {
			return false
		}
		if id.Serial.Cmp(q.serial) == 0 {
			return bytes.Equal(id.NameHash, asked.IssuerNameHash) && bytes.Equal(id.KeyID, asked.IssuerKeyHash)
		}
	}
	return false
}

// mayAnswer returns an error for a signer that the issuer has not authorised to answer: any other
// certificate of the issuer could sign as well.
func (q question) mayAnswer(signer *x509.Certificate, now time.Time) error {
	switch err := signer.CheckSignatureFrom(q.issuer); {
	case err != nil:
		return err
	case !slices.Contains(signer.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("the certificate of %s is not allowed to sign OCSP answers", signer.Subject)
	case now.Before(signer.NotBefore) || now.After(signer.NotAfter):
		return fmt.Errorf("the certificate of %s is valid only from %s to %s", signer.Subject, signer.NotBefore.UTC().Format(time.RFC3339), signer.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}
