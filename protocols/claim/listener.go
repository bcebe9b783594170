package claim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"
)

// Config configures a Listener. The callbacks run in client goroutines.
type Config struct {
	Listen string
	Code   string
	Until  time.Time // when the code expires

	// Prepare makes the papers for an order. keep then makes the gateway the operator's; nothing
	// has changed before.
	Prepare func(o Request) (p Response, keep func() error, err error)
	// Claimed is called once, when the gateway has been claimed; the listener then refuses every
	// other client.
	Claimed func(operator, remote string)
	// Refused is called for each refused client, with the reason.
	Refused func(remote string, why error)
}

const (
	crowd     = 8                // connections at once
	proveTime = 5 * time.Second  // until the client has proven that it knows the code
	talkTime  = 20 * time.Second // for the rest of the conversation
	maxHosts  = 256              // hosts whose attempts are remembered
	// Pause after a wrong code; doubles with each further one from the same host.
	minWait = time.Second
	maxWait = time.Minute
	// Between the two clocks: certificates are valid from an hour before now.
	maxSkew = 10 * time.Minute
)

// Listener waits for a client that knows the code.
type Listener struct {
	cfg    Config
	net    net.Listener
	tls    *tls.Config
	places chan struct{}
	done   sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	shut  bool
	tries map[string]try // by host
	busy  bool           // one order at a time
	taken bool
}

// try counts the wrong codes of a host.
type try struct {
	wrong int
	until time.Time // no code is checked before that time
}

// Listen starts listening. Its certificate is created for the occasion: the code authenticates the
// gateway.
func Listen(cfg Config) (*Listener, error) {
	own, err := momentary()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, err
	}
	s := &Listener{
		cfg: cfg, net: l, tls: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, SessionTicketsDisabled: true},
		places: make(chan struct{}, crowd), open: map[net.Conn]struct{}{}, tries: map[string]try{},
	}
	s.done.Add(1)
	go s.accept()
	return s, nil
}

func momentary() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "unclaimed gateway"}, DNSNames: []string{"unclaimed.invalid"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// Addr returns the address of the listener.
func (s *Listener) Addr() string { return s.net.Addr().String() }

// Close ends the listener and all conversations.
func (s *Listener) Close() error {
	err := s.net.Close()
	s.mu.Lock()
	s.shut = true
	for c := range s.open {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
	return err
}

func (s *Listener) accept() {
	defer s.done.Done()
	for {
		s.places <- struct{}{}
		c, err := s.net.Accept()
		if err != nil {
			<-s.places
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(100 * time.Millisecond) // out of file descriptors; others will be freed
			continue
		}
		s.done.Add(1)
		go s.serve(c)
	}
}

func (s *Listener) serve(c net.Conn) {
	defer s.done.Done()
	defer func() { <-s.places }()
	defer c.Close()
	if !s.enter(c) {
		return
	}
	defer s.leave(c)
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Refused(c.RemoteAddr().String(), fmt.Errorf("panic: %v", r))
		}
	}()
	_ = c.SetDeadline(time.Now().Add(proveTime))
	if err := s.talk(c); err != nil {
		s.cfg.Refused(c.RemoteAddr().String(), err)
	}
}

func (s *Listener) enter(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[c] = struct{}{}
	return !s.shut
}

func (s *Listener) leave(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// talk is one conversation. Its error is why the client was refused.
func (s *Listener) talk(raw net.Conn) error {
	c := tls.Server(raw, s.tls)
	if err := c.HandshakeContext(context.Background()); err != nil { // the connection has a deadline
		return err
	}
	bound, err := exporter(c.ConnectionState())
	if err != nil {
		return err
	}
	var his shown
	if err := read(c, &his); err != nil {
		return err
	}
	if err := s.judge(host(raw), his.Proof, bound); err != nil {
		_ = write(c, shown{Error: err.Error()})
		return err
	}
	if err := write(c, shown{Proof: proof(s.cfg.Code, asGateway, bound)}); err != nil {
		return err
	}
	_ = raw.SetDeadline(time.Now().Add(talkTime))
	err = s.order(c, raw.RemoteAddr().String())
	if err != nil {
		_ = write(c, word{Error: err.Error()})
	}
	return err
}

var errTaken = errors.New("the gateway has already been claimed with this code, which is valid once")

// judge returns why a client is refused; nil: it knows the code.
func (s *Listener) judge(host string, his, bound []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	t := s.tries[host]
	switch {
	case s.taken:
		return errTaken
	case now.After(s.cfg.Until):
		return errors.New("the code has expired: restart the gateway to get a new one")
	case now.Before(t.until):
		return fmt.Errorf("the last code from this address was wrong: try again in %s", inSeconds(t.until.Sub(now)))
	case hmac.Equal(his, proof(s.cfg.Code, asOperator, bound)):
		delete(s.tries, host)
		return nil
	}
	if _, known := s.tries[host]; !known && len(s.tries) >= maxHosts {
		for other := range s.tries { // any one: with 80 bits guessing is hopeless
			delete(s.tries, other)
			break
		}
	}
	wait := min(minWait<<min(t.wrong, 6), maxWait)
	s.tries[host] = try{t.wrong + 1, now.Add(wait)}
	return fmt.Errorf("wrong code: try again in %s with the one that the gateway shows", inSeconds(wait))
}

// inSeconds rounds up to whole seconds.
func inSeconds(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// order handles the order of a client that has proven that it knows the code.
func (s *Listener) order(c net.Conn, remote string) error {
	var o Request
	if err := read(c, &o); err != nil {
		return err
	}
	if skew := time.Since(o.Time); skew.Abs() > maxSkew {
		return fmt.Errorf("the gateway's clock says %s: correct it or your own first, or the certificates will not be valid", time.Now().UTC().Format(time.RFC3339))
	}
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	p, keep, err := s.cfg.Prepare(o)
	if err != nil {
		return err
	}
	if err := write(c, answer{Response: p}); err != nil {
		return err
	}
	var w word
	if err := read(c, &w); err != nil || !w.Kept {
		return errors.Join(errors.New("the operator did not confirm receipt of the certificates: the gateway is unchanged"), err)
	}
	if err := keep(); err != nil {
		return err
	}
	s.take()
	_ = write(c, word{Claimed: true}) // the gateway is claimed even if this does not arrive
	s.cfg.Claimed(o.Operator, remote)
	return nil
}

func (s *Listener) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.taken:
		return errTaken
	case s.busy:
		return errors.New("somebody else is claiming the gateway")
	}
	s.busy = true
	return nil
}

func (s *Listener) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
}

// take invalidates the code, before anyone learns that the gateway is claimed.
func (s *Listener) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = true
}

func host(c net.Conn) string {
	h, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return h
}
