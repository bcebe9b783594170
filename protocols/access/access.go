// Package access decides who may use what of the gateway: identities prove themselves by a password, a certificate, a token or a key, they have
// roles, and roles allow and deny topics. A Policy is a pure function of its config; who asks it, and what becomes of
// its answer, is the business of the doors.
//
// A topic is class/path/leaf, as in "cmd/field/plc/WriteRegisters": data, event, state, trace and track are heard, cmd is called. A pattern is
// an MQTT filter: '+' stands for one level, '#' at the end for one or more. What any role of an identity denies is denied;
// of the rest it may use what any of its roles allows.
package access

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewayd/protocols/access/ocsp"
)

// Role is what those who have it may and may not use.
type Role struct {
	Name  string
	Allow []string // patterns
	Deny  []string // patterns; they overrule what any role allows
}

// Credentials say who somebody is and how he proves it.
type Credentials struct {
	Name         string
	Roles        []string  // names
	Password     string    // as Hash makes it; empty: none proves him
	Certificates []string  // names in certificates: "CN:panel-1", "DNS:…", "EMAIL:…", "URI:spiffe://…"; '*' stands for any text
	Tokens       []string  // as Digest makes them
	Keys         []string  // NATS user keys, the public half: "U…"
	ClientIDs    []string  // MQTT client ids he may use, '*' stands for any text; empty: his name, alone or followed by one of ". : @ _" and more
	Expires      time.Time // zero: never
	Rate         float64   // calls he may make in a second, through all doors; 0: any number
	Burst        float64   // calls he may make at once; 0: what he may in a second
	Revoked      bool      // his credentials prove nothing any more
}

// Identity is somebody who has proven who he is.
type Identity struct {
	Name   string
	cred   Credentials
	cert   *x509.Certificate // by which he came in; nil: by something else
	keeper string            // of the policy that let him in
	rights
}

// Policy is who there is and what they may use. It does not change, but for what responders say of certificates.
type Policy struct {
	keeper    string // the path of whose it is
	all       map[string]*Identity
	tokens    map[string]*Identity
	keys      map[string]*Identity
	named     []*Identity  // with certificates, in the order of the config
	anonymous *Identity    // nil: nobody gets in without credentials
	lists     *Lists       // nil: no certificate is revoked
	online    *ocsp.Client // nil: no responder is asked
}

// Anonymous is the name of those who have shown no credentials.
const Anonymous = "anonymous"

// New makes a policy. Who shows no credentials has the roles named by anonymous; without any he does not get in.
func New(roles []Role, who []Credentials, anonymous []string) (*Policy, error) {
	known := map[string]Role{}
	for _, r := range roles {
		if _, twice := known[r.Name]; twice {
			return nil, fmt.Errorf("role %q is there twice", r.Name)
		}
		for _, pattern := range slices.Concat(r.Allow, r.Deny) {
			if err := CheckPattern(pattern); err != nil {
				return nil, fmt.Errorf("role %s: %w", r.Name, err)
			}
		}
		known[r.Name] = r
	}
	p := &Policy{all: map[string]*Identity{}, tokens: map[string]*Identity{}, keys: map[string]*Identity{}}
	for _, c := range who {
		if err := p.add(c, known); err != nil {
			return nil, fmt.Errorf("identity %s: %w", c.Name, err)
		}
	}
	if len(anonymous) == 0 {
		return p, nil
	}
	r, err := rightsOf(anonymous, known)
	if err != nil {
		return nil, fmt.Errorf("anonymous: %w", err)
	}
	p.anonymous = &Identity{Name: Anonymous, rights: r}
	return p, nil
}

func (p *Policy) add(c Credentials, known map[string]Role) error {
	if _, twice := p.all[c.Name]; twice || c.Name == "" || c.Name == Anonymous {
		return errors.New("the name is taken")
	}
	r, err := rightsOf(c.Roles, known)
	if err != nil {
		return err
	}
	id := &Identity{Name: c.Name, cred: c, rights: r}
	if c.Password != "" {
		if _, err := parseHash(c.Password); err != nil {
			return err
		}
	}
	for _, pattern := range c.Certificates {
		if err := checkName(pattern); err != nil {
			return err
		}
	}
	for _, pattern := range c.ClientIDs {
		if strings.Count(pattern, "*") > mostStars {
			return fmt.Errorf("client id %q: at most %d *", pattern, mostStars)
		}
	}
	for _, t := range c.Tokens {
		if err := checkDigest(t); err != nil {
			return err
		}
		if other := p.tokens[t]; other != nil {
			return fmt.Errorf("it has the same token as %s", other.Name)
		}
		p.tokens[t] = id
	}
	for _, k := range c.Keys {
		if err := checkKey(k); err != nil {
			return err
		}
		if other := p.keys[k]; other != nil {
			return fmt.Errorf("it has the same key as %s", other.Name)
		}
		p.keys[k] = id
	}
	if len(c.Certificates) > 0 {
		p.named = append(p.named, id)
	}
	p.all[c.Name] = id
	return nil
}

// Keep says whose a policy is that nobody uses yet: the path of who keeps it.
func (p *Policy) Keep(keeper string) {
	p.keeper = keeper
	for _, id := range p.all {
		id.keeper = keeper
	}
	if p.anonymous != nil {
		p.anonymous.keeper = keeper
	}
}

// Keeper is the path of who keeps the policy; empty: nobody has said so.
func (p *Policy) Keeper() string { return p.keeper }

// Revoke puts lists of revoked certificates into a policy that nobody uses yet, and who knows what responders say of others, if somebody does.
func (p *Policy) Revoke(l *Lists, online *ocsp.Client) { p.lists, p.online = l, online }

// Errors of the methods that let somebody in. They say to the log why; a client is told no more than that he is refused.
var (
	ErrUnknown = errors.New("no such identity")
	ErrWrong   = errors.New("the password is wrong")
	ErrNoProof = errors.New("no credentials were shown")
	ErrRevoked = errors.New("the identity is revoked")
	ErrExpired = errors.New("the identity has expired")
	ErrListed  = errors.New("the certificate is revoked")
	ErrOld     = errors.New("the certificate has expired")
)

// Lookup is an identity by its name, if it is in force.
func (p *Policy) Lookup(name string, now time.Time) (*Identity, error) {
	if name == Anonymous && p.anonymous != nil {
		return p.anonymous, nil
	}
	return p.all[name].inForce(now)
}

// Password lets in who knows the password of name. It takes a moment on purpose, see Hash.
func (p *Policy) Password(name string, password []byte, now time.Time) (*Identity, error) {
	id := p.all[name]
	stored := nobody
	if id != nil && id.cred.Password != "" {
		stored = id.cred.Password
	}
	right, err := Verify(stored, password) // also for nobody: how long it takes does not tell who exists
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

// Certificate lets in whom a certificate names; that it is genuine has been seen by TLS. Of several identities that it might be the first one is meant.
func (p *Policy) Certificate(c *x509.Certificate, now time.Time) (*Identity, error) {
	if p.revoked(c) {
		return nil, ErrListed
	}
	if err := p.lists.Refuse(now); err != nil {
		return nil, err
	}
	if err := p.online.Err(c, now); err != nil && (p.lists == nil || !p.lists.lenient) {
		return nil, fmt.Errorf("%w: %w", ErrLists, err)
	}
	if now.After(c.NotAfter) { // TLS has looked when the connection was made, which may be long ago
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
	return nil, fmt.Errorf("%w has one of the certificate's names: %s", ErrUnknown, strings.Join(names, ", "))
}

// revoked tells whether a certificate is known to be revoked.
func (p *Policy) revoked(c *x509.Certificate) bool { return p.lists.has(c) || p.online.Revoked(c) }

// Token lets in who bears a token.
func (p *Policy) Token(token string, now time.Time) (*Identity, error) {
	id, ok := p.tokens[Digest(token)]
	if !ok {
		return nil, ErrUnknown
	}
	return id.inForce(now)
}

// Key lets in who has signed with the private half of a key; that he has was seen by whoever asks.
func (p *Policy) Key(public string, now time.Time) (*Identity, error) {
	id, ok := p.keys[public]
	if !ok {
		return nil, ErrUnknown
	}
	return id.inForce(now)
}

// NoProof is who shows no credentials at all.
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

// Still tells whether somebody who was let in as id by an earlier policy would be let in by this one in the same way, and
// who he is now. Whoever has other credentials than he had must show the new ones.
func (p *Policy) Still(id *Identity, now time.Time) (*Identity, error) {
	is, err := p.same(id, now)
	if err != nil {
		return nil, err
	}
	return is.by(id.cert), nil
}

// same is Still but for the certificate.
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

// now is who id is at a moment, if what he came in by still proves it.
func (p *Policy) now(id *Identity, now time.Time) (*Identity, error) {
	is, err := p.proven(id, now)
	if err != nil {
		return nil, err
	}
	return is.by(id.cert), nil
}

// proven is now but for the certificate.
func (p *Policy) proven(id *Identity, now time.Time) (*Identity, error) {
	switch {
	case p.revoked(id.cert):
		return nil, ErrListed
	case id.cert != nil && now.After(id.cert.NotAfter):
		return nil, ErrOld
	}
	return p.Lookup(id.Name, now)
}

// by is id come in by a certificate; nil: by something else.
func (id *Identity) by(cert *x509.Certificate) *Identity {
	if cert == nil {
		return id
	}
	by := *id
	by.cert = cert
	return &by
}

// Expires is when the credentials of id end, or the certificate by which he came in; zero: never.
func (id *Identity) Expires() time.Time {
	if end := id.cred.Expires; id.cert == nil || !end.IsZero() && end.Before(id.cert.NotAfter) {
		return end
	}
	return id.cert.NotAfter
}

// Owns tells whether id may use an MQTT client id.
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
