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
