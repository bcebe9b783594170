// Package access decides who may use what of the gateway. An identity authenticates by a password,
// a certificate, a token or a key; it has roles, and roles allow and deny topics. A Policy is a
// pure function of its config; listeners ask it and act on its decisions.
//
// A topic is class/path/leaf, as in "cmd/field/plc/WriteRegisters". Topics of the classes data,
// event, state, trace and track are subscribed to, those of cmd are called. A pattern is an MQTT
// filter: '+' stands for one level, '#' at the end for one or more. What any role of an identity
// denies is denied; otherwise the identity may use what any of its roles allows.
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

// Role is what the identities with this role may and may not use.
type Role struct {
	Name  string
	Allow []string // patterns
	Deny  []string // patterns; they take precedence over what any role allows
}

// Credentials describe an identity and how it authenticates.
type Credentials struct {
	Name     string
	Roles    []string // names
	Password string   // as made by Hash; empty: no password is accepted
	// Names in certificates: "CN:panel-1", "DNS:…", "EMAIL:…", "URI:spiffe://…"; '*' stands for any
	// text.
	Certificates []string
	Tokens       []string // as made by Digest
	Keys         []string // NATS user keys, the public half: "U…"
	// MQTT client ids it may use, '*' stands for any text; empty: its name, alone or followed by
	// one of ". : @ _" and more.
	ClientIDs []string
	Expires   time.Time // zero: never
	Rate      float64   // calls per second, through all listeners; 0: no limit
	Burst     float64   // calls at once; 0: as many as per second
	Revoked   bool      // the credentials are no longer accepted
}

// Identity is an authenticated identity.
type Identity struct {
	Name   string
	cred   Credentials
	cert   *x509.Certificate // the certificate used; nil: another kind of credentials
	keeper string            // of the policy that admitted it
	rights
}

// Policy is the set of identities and their rights. It does not change, except for what OCSP
// responders say about certificates.
type Policy struct {
	keeper    string // path of the actor that keeps the policy
	all       map[string]*Identity
	tokens    map[string]*Identity
	keys      map[string]*Identity
	named     []*Identity  // with certificates, in the order of the config
	anonymous *Identity    // nil: clients without credentials are not admitted
	lists     *CRLs        // nil: no certificate is revoked
	online    *ocsp.Client // nil: no responder is asked
}

// Anonymous is the name of clients without credentials.
const Anonymous = "anonymous"

// New returns a policy. Clients without credentials have the roles named by anonymous; if there are
// none, they are not admitted.
func New(roles []Role, who []Credentials, anonymous []string) (*Policy, error) {
	known := map[string]Role{}
	for _, r := range roles {
		if _, twice := known[r.Name]; twice {
			return nil, fmt.Errorf("role %q is defined twice", r.Name)
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
		return errors.New("the name is used twice")
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
		if strings.Count(pattern, "*") > maxStars {
			return fmt.Errorf("client id %q: at most %d *", pattern, maxStars)
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

// Keep sets the path of the actor that keeps the policy. The policy must not be in use yet.
func (p *Policy) Keep(keeper string) {
	p.keeper = keeper
	for _, id := range p.all {
		id.keeper = keeper
	}
	if p.anonymous != nil {
		p.anonymous.keeper = keeper
	}
}

// Keeper returns the path of the actor that keeps the policy; empty: not set.
func (p *Policy) Keeper() string { return p.keeper }

// Revoke adds lists of revoked certificates and an OCSP client, if not nil, to a policy that is not
// in use yet.
func (p *Policy) Revoke(l *CRLs, online *ocsp.Client) { p.lists, p.online = l, online }
