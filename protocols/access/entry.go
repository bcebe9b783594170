package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of the methods that admit an identity. They give the reason for the log; a client is told
// only that it is refused.
var (
	ErrUnknown = errors.New("no such identity")
	ErrWrong   = errors.New("the password is wrong")
	ErrNoProof = errors.New("no credentials were shown")
	ErrRevoked = errors.New("the identity is revoked")
	ErrExpired = errors.New("the identity has expired")
	ErrListed  = errors.New("the certificate is revoked")
	ErrOld     = errors.New("the certificate has expired")
)

// Lookup returns an identity by its name, if it is in force.
func (p *Policy) Lookup(name string, now time.Time) (*Identity, error) {
	if name == Anonymous && p.anonymous != nil {
		return p.anonymous, nil
	}
	return p.all[name].inForce(now)
}

// Password returns the identity name if the password is right. It takes time on purpose, see Hash.
func (p *Policy) Password(name string, password []byte, now time.Time) (*Identity, error) {
	id := p.all[name]
	stored := dummyHash
	if id != nil && id.cred.Password != "" {
		stored = id.cred.Password
	}
	// Also for unknown names, so that the time taken does not reveal which names exist.
	right, err := Verify(stored, password)
	switch {
	case err != nil:
		return nil, err
	case id == nil:
		return nil, ErrUnknown
	case !right || id.cred.Password == "":
		return nil, ErrWrong
	}
	return id.inForce(now)
}

// Certificate returns the identity that a certificate names; TLS has verified the certificate. If
// several identities match, the first counts.
func (p *Policy) Certificate(c *x509.Certificate, now time.Time) (*Identity, error) {
	if p.revoked(c) {
		return nil, ErrListed
	}
	if err := p.lists.Refuse(now); err != nil {
		return nil, err
	}
	if err := p.online.Err(c, now); err != nil && (p.lists == nil || !p.lists.lenient) {
		return nil, fmt.Errorf("%w: %w", ErrRevocationUnknown, err)
	}
	if now.After(c.NotAfter) { // TLS checked this when the connection was made, which may be long ago
		return nil, ErrOld
	}
	names := namesOf(c)
	for _, id := range p.named {
		for _, pattern := range id.cred.Certificates {
			if slices.ContainsFunc(names, func(name string) bool { return like(pattern, name) }) {
				return id.by(c).inForce(now)
			}
		}
	}
	return nil, fmt.Errorf("%w for the certificate with the names %s", ErrUnknown, strings.Join(names, ", "))
}

// revoked reports whether a certificate is known to be revoked.
func (p *Policy) revoked(c *x509.Certificate) bool { return p.lists.has(c) || p.online.Revoked(c) }

// Token returns the identity with a bearer token.
func (p *Policy) Token(token string, now time.Time) (*Identity, error) {
	id, ok := p.tokens[Digest(token)]
	if !ok {
		return nil, ErrUnknown
	}
	return id.inForce(now)
}

// Key returns the identity with a public key. The caller has verified the signature made with the
// private key.
func (p *Policy) Key(public string, now time.Time) (*Identity, error) {
	id, ok := p.keys[public]
	if !ok {
		return nil, ErrUnknown
	}
	return id.inForce(now)
}

// NoProof returns the identity of clients without credentials.
func (p *Policy) NoProof() (*Identity, error) {
	if p.anonymous == nil {
		return nil, ErrNoProof
	}
	return p.anonymous, nil
}

func (id *Identity) inForce(now time.Time) (*Identity, error) {
	switch {
	case id == nil:
		return nil, ErrUnknown
	case id.cred.Revoked:
		return nil, ErrRevoked
	case !id.cred.Expires.IsZero() && !now.Before(id.cred.Expires):
		return nil, ErrExpired
	}
	return id, nil
}

// Recheck returns the present identity of a client that an earlier policy admitted as id, if this
// policy would admit it in the same way. If its credentials have changed, it must present the new
// ones.
func (p *Policy) Recheck(id *Identity, now time.Time) (*Identity, error) {
	is, err := p.same(id, now)
	if err != nil {
		return nil, err
	}
	return is.by(id.cert), nil
}

// same is Recheck without the check of the certificate.
func (p *Policy) same(id *Identity, now time.Time) (*Identity, error) {
	is, err := p.proven(id, now)
	switch {
	case err != nil:
		return nil, err
	case is.cred.Password != id.cred.Password, !slices.Equal(is.cred.Certificates, id.cred.Certificates), !slices.Equal(is.cred.Tokens, id.cred.Tokens), !slices.Equal(is.cred.Keys, id.cred.Keys):
		return nil, errors.New("its credentials have changed")
	}
	return is, nil
}

// now returns the present identity of id if the credentials used are still valid.
func (p *Policy) now(id *Identity, now time.Time) (*Identity, error) {
	is, err := p.proven(id, now)
	if err != nil {
		return nil, err
	}
	return is.by(id.cert), nil
}

// proven is now without the binding to the certificate.
func (p *Policy) proven(id *Identity, now time.Time) (*Identity, error) {
	switch {
	case p.revoked(id.cert):
		return nil, ErrListed
	case id.cert != nil && now.After(id.cert.NotAfter):
		return nil, ErrOld
	}
	return p.Lookup(id.Name, now)
}

// by returns id as admitted by a certificate; nil: by other credentials.
func (id *Identity) by(cert *x509.Certificate) *Identity {
	if cert == nil {
		return id
	}
	by := *id
	by.cert = cert
	return &by
}

// Expires returns when the credentials of id expire, or the certificate used, whichever is earlier;
// zero: never.
func (id *Identity) Expires() time.Time {
	if end := id.cred.Expires; id.cert == nil || !end.IsZero() && end.Before(id.cert.NotAfter) {
		return end
	}
	return id.cert.NotAfter
}

// Owns reports whether id may use an MQTT client id.
func (id *Identity) Owns(clientID string) bool {
	if id.Name == Anonymous {
		return true
	}
	if len(id.cred.ClientIDs) > 0 {
		return slices.ContainsFunc(id.cred.ClientIDs, func(pattern string) bool { return like(pattern, clientID) })
	}
	rest, ok := strings.CutPrefix(clientID, id.Name)
	return ok && (rest == "" || strings.ContainsRune(".:@_", rune(rest[0])))
}
