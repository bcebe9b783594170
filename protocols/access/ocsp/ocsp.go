// Package ocsp asks OCSP responders whether certificates are revoked (RFC 6960), and remembers
// their answers. Package access acts on them.
package ocsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxKnown is the number of certificates whose state is remembered.
const maxKnown = 10_000

// tryAgain is when a responder that has not answered is asked again.
const tryAgain = 10 * time.Second

// Client knows the state of certificates. It is safe for concurrent use. A nil Client asks no
// responder.
type Client struct {
	responder   string // empty: the one named by the certificate
	authorities []*x509.Certificate
	every       time.Duration
	http        *http.Client

	mu      sync.Mutex
	known   map[string]*state // by issuer and serial number
	turned  bool              // a certificate has been revoked since Turned was called
	trouble string            // empty: all responders asked last have answered
}

// state is what is known about one certificate.
type state struct {
	question
	asking  chan struct{} // closed when the request is done; nil: no request is under way
	revoked bool
	// Beginning of the answer's validity; a responder or a cache before it may return an older one.
	at      time.Time
	until   time.Time // end of the answer's validity; zero: there is no answer
	due     time.Time // when to ask again
	trouble error     // why the last request got no answer
}

// New returns a client that asks the responder at a URL about certificates of the authorities, each
// again at the interval every. If the URL is empty, it asks the responder that the certificate
// names. The client has no goroutines of its own.
func New(responder string, authorities []*x509.Certificate, every time.Duration) *Client {
	return &Client{
		responder: responder, authorities: authorities, every: every, known: map[string]*state{},
		http: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Trusts reports whether these are the client's authorities.
func (c *Client) Trusts(authorities []*x509.Certificate) bool {
	return slices.EqualFunc(c.authorities, authorities, (*x509.Certificate).Equal)
}

// of returns what is known about a certificate; nil if no responder is to be asked. The caller
// holds the lock.
func (c *Client) of(cert *x509.Certificate) (*state, error) {
	key := string(cert.RawIssuer) + "\x00" + cert.SerialNumber.Text(16)
	if s := c.known[key]; s != nil {
		return s, nil
	}
	q, err := c.question(cert)
	if q == nil {
		return nil, err
	}
	for other, s := range c.known {
		if len(c.known) < maxKnown {
			break
		}
		if !s.revoked && s.asking == nil {
			delete(c.known, other)
		}
	}
	s := &state{question: *q}
	c.known[key] = s
	return s, nil
}

// Ask asks about a certificate without a valid answer, and waits for the answer until ctx ends. Err
// and Revoked return the result.
func (c *Client) Ask(ctx context.Context, cert *x509.Certificate, now time.Time) {
	if c == nil {
		return
	}
	c.mu.Lock()
	s, _ := c.of(cert)
	if s == nil || now.Before(s.until) || s.asking == nil && now.Before(s.due) {
		c.mu.Unlock()
		return
	}
	if wait := s.asking; wait != nil {
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
		}
		return
	}
	s.asking = make(chan struct{})
	c.mu.Unlock()
	c.ask(ctx, s, now)
}

// ask asks about s, which the caller has marked as being asked about.
func (c *Client) ask(ctx context.Context, s *state, now time.Time) {
	a, err := s.put(ctx, c.http)
	c.mu.Lock()
	defer c.mu.Unlock()
	close(s.asking)
	s.asking = nil
	if err == nil && a.at.Before(s.at) {
		err = fmt.Errorf("OCSP responder %s: certificate %x: its answer is older than the previous one", s.url, s.serial)
	}
	if s.trouble = err; err != nil {
		s.due = now.Add(tryAgain)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.due = now // the waiting client has no more time, but Renew may have
		}
		c.look(now)
		return
	}
	s.due = now.Add(c.every)
	if s.until = a.until; s.until.IsZero() { // the responder always has a newer answer
		s.until = now.Add(2 * c.every)
	}
	if half := now.Add(s.until.Sub(now) / 2); half.Before(s.due) {
		s.due = half // before it ends
	}
	if soon := now.Add(time.Second); s.due.Before(soon) {
		s.due = soon
	}
	c.turned = c.turned || a.revoked && !s.revoked
	s.revoked, s.at = a.revoked, a.at
	c.look(now)
}

// look updates trouble. The first error stays until there is none, because the errors differ in
// irrelevant details. The caller holds the lock.
func (c *Client) look(now time.Time) {
	trouble := ""
	for key, s := range c.known {
		if now.After(s.ends) {
			delete(c.known, key)
			continue
		}
		if s.trouble != nil && (trouble == "" || s.trouble.Error() < trouble) {
			trouble = s.trouble.Error()
		}
	}
	if c.trouble == "" || trouble == "" {
		c.trouble = trouble
	}
}

// Revoked reports whether a certificate is known to be revoked. Renew asks about it from now on.
func (c *Client) Revoked(cert *x509.Certificate) bool {
	if c == nil || cert == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := c.of(cert)
	return s != nil && s.revoked
}

// Err returns why it is unknown at a moment whether a certificate is revoked; nil: it is known, or
// no responder is to be asked.
func (c *Client) Err(cert *x509.Certificate, now time.Time) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s, err := c.of(cert); {
	case s == nil:
		return err
	case now.Before(s.until):
		return nil
	case s.trouble != nil:
		return s.trouble
	default:
		return fmt.Errorf("OCSP responder %s has not been asked yet", s.url)
	}
}

// Trouble returns why answers are missing; empty: none are.
func (c *Client) Trouble() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// Turned reports whether a certificate was revoked since the last call of Turned.
func (c *Client) Turned() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	turned := c.turned
	c.turned = false
	return turned
}

// Due reports whether Renew has something to do.
func (c *Client) Due(now time.Time) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.known {
		if s.asking == nil && !now.Before(s.due) {
			return true
		}
	}
	return false
}

// Renew asks about every certificate that is due, until ctx ends. A responder that does not answer
// is asked once.
func (c *Client) Renew(ctx context.Context, now time.Time) {
	var silent []string
	for ctx.Err() == nil {
		s := c.next(now, silent)
		if s == nil {
			return
		}
		if c.ask(ctx, s, now); c.failed(s) {
			silent = append(silent, s.url)
		}
	}
}

func (c *Client) failed(s *state) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return s.trouble != nil
}

// next returns a certificate that is due, marked as being asked about. Those of silent responders
// are postponed.
func (c *Client) next(now time.Time, silent []string) *state {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, s := range c.known {
		switch {
		case s.asking != nil || now.Before(s.due):
		case now.After(s.ends):
			delete(c.known, key)
		case slices.Contains(silent, s.url):
			s.due = now.Add(tryAgain)
		default:
			s.asking = make(chan struct{})
			return s
		}
	}
	return nil
}

// question returns the request to make about a certificate; nil: none is needed. An error says why
// a required responder cannot be asked.
func (c *Client) question(cert *x509.Certificate) (*question, error) {
	url := c.responder
	if i := slices.IndexFunc(cert.OCSPServer, web); url == "" && i >= 0 {
		url = cert.OCSPServer[i]
	}
	if url == "" {
		return nil, nil
	}
	for _, ca := range c.authorities {
		if bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil {
			return newQuestion(cert, ca, url)
		}
	}
	return nil, fmt.Errorf("%s, which has signed a certificate, is not an authority in ca-file", cert.Issuer)
}

func web(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}
