// Package ocsp asks responders whether certificates are revoked (RFC 6960), and remembers what they say. What follows from that is package access's business.
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

// mostKnown is of how many certificates the state is remembered.
const mostKnown = 10_000

// tryAgain is when a responder that has given no answer is asked again.
const tryAgain = 10 * time.Second

// Client knows the state of certificates. Any goroutine may use it; a nil one knows nothing, and nobody needs it to.
type Client struct {
	responder   string // empty: the one that a certificate names
	authorities []*x509.Certificate
	every       time.Duration
	http        *http.Client

	mu      sync.Mutex
	known   map[string]*state // by issuer and serial number
	turned  bool              // somebody has been revoked since Turned
	trouble string            // empty: every one that was asked last has answered
}

// state is what is known of one certificate.
type state struct {
	question
	asking  chan struct{} // closed when whoever asks is done; nil: nobody does
	revoked bool
	at      time.Time // from when on the answer is so; a responder, or who stands before it, may come with an older one
	until   time.Time // when the answer ends; zero: there has been none
	due     time.Time // when to ask anew
	trouble error     // why the last time there was no answer
}

// New makes a client that asks the responder at a URL, or, if that is empty, the one that each certificate names, about certificates of the
// authorities, each again every so often. It does nothing by itself.
func New(responder string, authorities []*x509.Certificate, every time.Duration) *Client {
	return &Client{
		responder: responder, authorities: authorities, every: every, known: map[string]*state{},
		http: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Trusts tells whether these are the client's authorities.
func (c *Client) Trusts(authorities []*x509.Certificate) bool {
	return slices.EqualFunc(c.authorities, authorities, (*x509.Certificate).Equal)
}

// of is what is known of a certificate; nil if nobody is to be asked. The caller holds the lock.
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
		if len(c.known) < mostKnown {
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

// Ask asks about a certificate of which no answer is in force, and waits for that as long as ctx lets it. What comes of it Err and Revoked tell.
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
		err = fmt.Errorf("OCSP responder %s: certificate %x: its answer is older than the one before", s.url, s.serial)
	}
	if s.trouble = err; err != nil {
		s.due = now.Add(tryAgain)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.due = now // whoever waited has no more time, Renew may have
		}
		c.look(now)
		return
	}
	s.due = now.Add(c.every)
	if s.until = a.until; s.until.IsZero() { // there is always a newer one
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

// look sees whether there is trouble. The first one is told until there is none: they differ in what does not matter. The caller holds the lock.
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

// Revoked tells whether a certificate is known to be revoked; from now on Renew asks about it.
func (c *Client) Revoked(cert *x509.Certificate) bool {
	if c == nil || cert == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := c.of(cert)
	return s != nil && s.revoked
}

// Err is why it is not known at a moment whether a certificate is revoked; nil: it is, or nobody is to be asked.
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

// Trouble says why answers are missing; empty: none are.
func (c *Client) Trouble() string {
	if c == nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// Turned tells whether a certificate was revoked since this was asked last.
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

// Due tells whether Renew has something to do.
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

// Renew asks about every certificate that is due, as far as ctx lets it. A responder that gives no answer is asked once.
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

// next is one that is due, marked as being asked about. Those that the silent would be asked about are put off.
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

// question makes what is to be asked about a certificate; nil: nothing is. An error says why nobody can be asked who should be.
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
	return nil, fmt.Errorf("%s, which has signed a certificate, is none of the authorities whose responder is asked", cert.Issuer)
}

func web(url string) bool {
	return strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
}
