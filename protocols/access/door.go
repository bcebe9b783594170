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

// Shown is what a client has to show for himself. A certificate must have been verified by TLS, and a key by a signature.
type Shown struct {
	Name        string
	Password    []byte
	Token       string
	Key         string
	Certificate *x509.Certificate // nil: none
	Remote      string            // host:port he comes from; empty: this machine
}

// Door lets clients in by the policy of the moment. Any goroutine may use it. Without a policy nobody gets in.
type Door struct {
	policy  atomic.Pointer[Policy]
	line    line
	hashing sync.Mutex // slow hashes are made one at a time: each needs megabytes
	memo    memo
}

// mostAsking is how long a client waits for what a responder says of his certificate. NATS clients have two seconds for all.
const mostAsking = 1500 * time.Millisecond

// After a wrong password none is tried for so many times as long as its hash took, so that who guesses has a quarter of a processor at most.
const (
	rest     = 3
	mostRest = 500 * time.Millisecond
)

// Errors of Enter besides those of Policy.
var (
	ErrClosed = errors.New("who may come in is not known yet")
	ErrBusy   = errors.New("too many passwords are being tried")
)

// NewDoor makes a door that is closed until Set.
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

// Enter says who a client is. A key and a token go before a name and password, and these before a certificate, unless it is the
// certificate of that name. A password beside that must be right, if its identity has one.
func (d *Door) Enter(s Shown, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	switch {
	case p == nil:
		return nil, ErrClosed
	case s.Key != "":
		return p.Key(s.Key, now)
	case s.Token != "":
		return p.Token(s.Token, now)
	case s.Certificate != nil:
		ctx, done := context.WithTimeout(context.Background(), mostAsking)
		p.online.Ask(ctx, s.Certificate, now)
		done()
		p = d.policy.Load() // that of before may let in who has been revoked meanwhile
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
		return d.policy.Load().Still(id, now) // by the certificate, to go with it as well
	case s.Name != "":
		return d.password(p, s, now)
	}
	return p.NoProof()
}

// Now is who somebody is now that was let in as id; nil if he may no longer be in.
func (d *Door) Now(id *Identity, now time.Time) *Identity {
	p := d.policy.Load()
	if p == nil {
		return nil
	}
	is, _ := p.now(id, now)
	return is
}

// Still says who a client is now that was let in as id before the policy changed.
func (d *Door) Still(id *Identity, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	if p == nil {
		return nil, ErrClosed
	}
	return p.Still(id, now)
}

func (d *Door) password(p *Policy, s Shown, now time.Time) (*Identity, error) {
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

// try makes the hash, when it is its turn.
func (d *Door) try(s Shown, now time.Time) (*Identity, error) {
	p := d.policy.Load()
	if id := p.all[s.Name]; id != nil && d.memo.knows(id.cred.Password, s.Password) { // somebody before him has got in by it
		return id.inForce(now)
	}
	begin := time.Now()
	id, err := p.Password(s.Name, s.Password, now)
	if err != nil {
		time.Sleep(min(rest*time.Since(begin), mostRest))
		return nil, err
	}
	d.memo.learn(id.cred.Password, s.Password)
	return d.policy.Load().Still(id, now) // a hash takes its time, and those before it took theirs
}

// memo remembers by what password each identity got in last, so that a thousand clients that come back at once do not
// cost a thousand slow hashes. It holds no passwords: what it holds proves nothing without the key, which never leaves it.
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

// keep forgets the passwords that nobody has any more.
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
