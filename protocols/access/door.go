package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Presented is the credentials that a client presents. A certificate must have been verified by
// TLS, and a key by a signature.
type Presented struct {
	Name        string
	Password    []byte
	Token       string
	Key         string
	Certificate *x509.Certificate // nil: none
	Remote      string            // host:port of the client; empty: this machine
}

// Door admits clients by the present policy. It is safe for concurrent use. Without a policy no
// client is admitted.
type Door struct {
	policy  atomic.Pointer[Policy]
	line    line
	hashing sync.Mutex // slow hashes are computed one at a time: each needs megabytes
	memo    memo
}

// maxAsking is how long a client waits for an OCSP responder. NATS clients have two seconds in
// all.
const maxAsking = 1500 * time.Millisecond

// After a wrong password none is tried for rest times as long as its hash took, so that guessing
// uses at most a quarter of a processor.
const (
	rest    = 3
	maxRest = 500 * time.Millisecond
)

// Errors of Authenticate in addition to those of Policy.
var (
	ErrClosed = errors.New("the access policy is not loaded yet")
	ErrBusy   = errors.New("too many passwords are being tried")
)

// NewDoor returns a door without a policy.
func NewDoor() *Door {
	d := &Door{}
	d.memo.known = map[string][]byte{}
	_, _ = rand.Read(d.memo.key[:]) // never fails
	return d
}

// Set puts a policy in force.
func (d *Door) Set(p *Policy) {
	d.policy.Store(p)
	d.memo.keep(p)
}

// Authenticate returns the identity of a client. A key and a token take precedence over a name and
// password, and these over a certificate, unless it is the certificate of that name. A password
// presented with a certificate must be right, if the identity has one.
func (d *Door) Authenticate(s Presented, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	switch {
	case p == nil:
		return nil, ErrClosed
	case s.Key != "":
		return p.Key(s.Key, now)
	case s.Token != "":
		return p.Token(s.Token, now)
	case s.Certificate != nil:
		ctx, done := context.WithTimeout(context.Background(), maxAsking)
		p.online.Ask(ctx, s.Certificate, now)
		done()
		// The previous policy may admit an identity that has been revoked in the meantime.
		p = d.policy.Load()
		id, err := p.Certificate(s.Certificate, now)
		switch {
		case s.Name == "":
			return id, err
		case err != nil || id.Name != s.Name:
			return d.password(p, s, now)
		case len(s.Password) == 0 || id.cred.Password == "":
			return id, nil
		}
		if _, err := d.password(p, s, now); err != nil {
			return nil, err
		}
		// As admitted by the certificate, so that it also ends with the certificate.
		return d.policy.Load().Recheck(id, now)
	case s.Name != "":
		return d.password(p, s, now)
	}
	return p.NoProof()
}

// Current returns the present identity of a client admitted as id; nil if it may no longer stay.
func (d *Door) Current(id *Identity, now time.Time) *Identity {
	p := d.policy.Load()
	if p == nil {
		return nil
	}
	is, _ := p.now(id, now)
	return is
}

// Recheck returns the present identity of a client that was admitted as id before the policy
// changed.
func (d *Door) Recheck(id *Identity, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	if p == nil {
		return nil, ErrClosed
	}
	return p.Recheck(id, now)
}

func (d *Door) password(p *Policy, s Presented, now time.Time) (*Identity, error) {
	if id := p.all[s.Name]; id != nil && d.memo.knows(id.cred.Password, s.Password) {
		return id.inForce(now)
	}
	leave, ok := d.line.join(placeOf(s.Remote), now)
	if !ok {
		return nil, ErrBusy
	}
	d.hashing.Lock()
	defer d.hashing.Unlock()
	id, err := d.try(s, now)
	leave(err != nil)
	return id, err
}

// try checks the password when it is its turn.
func (d *Door) try(s Presented, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	// An earlier client has used the same password.
	if id := p.all[s.Name]; id != nil && d.memo.knows(id.cred.Password, s.Password) {
		return id.inForce(now)
	}
	begin := time.Now()
	id, err := p.Password(s.Name, s.Password, now)
	if err != nil {
		time.Sleep(min(rest*time.Since(begin), maxRest))
		return nil, err
	}
	d.memo.learn(id.cred.Password, s.Password)
	return d.policy.Load().Recheck(id, now) // computing this hash and those before it took time
}

// memo remembers the last accepted password of each identity, so that a thousand clients that
// reconnect at once do not need a thousand slow hashes. It stores no passwords: its content proves
// nothing without the key, which never leaves it.
type memo struct {
	key   [32]byte
	mu    sync.Mutex
	known map[string][]byte // by the stored hash
}

func (m *memo) knows(stored string, password []byte) bool {
	tag := m.tag(password)
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.known[stored]
	return ok && hmac.Equal(known, tag)
}

func (m *memo) learn(stored string, password []byte) {
	tag := m.tag(password)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[stored] = tag
}

// keep forgets the passwords that no identity has any more.
func (m *memo) keep(p *Policy) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := m.known
	m.known = map[string][]byte{}
	for _, id := range p.all {
		if tag, ok := had[id.cred.Password]; ok {
			m.known[id.cred.Password] = tag
		}
	}
}

func (m *memo) tag(password []byte) []byte {
	h := hmac.New(sha256.New, m.key[:])
	_, _ = h.Write(password)
	return h.Sum(nil)
}
