// Package dtu lets Modbus devices dial in. A DTU, a modem with a serial port behind it, connects to
// the gateway, identifies itself by a registration packet or by its address, and its connection is
// passed to the link that has claimed it. All other connections are refused. The package does not
// implement Modbus and owns a connection only until the registration is complete.
package dtu

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Claim says which DTU belongs to which link. It must not be modified once it has been made.
type Claim struct {
	Name   string       // the owner: the path of a link
	ID     string       // registration, without the listener's prefix; empty: the address is sufficient
	Source netip.Prefix // addresses the DTU may connect from; invalid: any
	// Hand passes the connection to the owner. It is called by any goroutine and must not block. It
	// returns an error if nobody can take the connection.
	Hand func(*Caller) error
}

// Caller is the connection of an identified DTU.
type Caller struct {
	net.Conn
	Beats [][]byte // packets that are not answers
}

// Lease is how long a claim lasts unless it is renewed.
const Lease = 30 * time.Second

// Registries holds the registries of all listeners: claims outlive the listener they were made at,
// which may restart. It is safe for concurrent use.
type Registries struct {
	mu  sync.Mutex
	all map[string]*Registry
}

// Of returns the registry of the listener called name.
func (d *Registries) Of(name string) *Registry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all == nil {
		d.all = map[string]*Registry{}
	}
	if d.all[name] == nil {
		d.all[name] = &Registry{}
	}
	return d.all[name]
}

// Registry holds the claims of one listener. It is safe for concurrent use.
type Registry struct {
	mu     sync.Mutex
	claims map[string]held // by Name
}

type held struct {
	*Claim
	until time.Time
}

// Claim makes or renews a claim, which is the same c then. A claim that conflicts with that of
// another owner is refused.
func (d *Registry) Claim(c *Claim, now time.Time) (renewed bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, other := range d.claims {
		if now.After(other.until) {
			delete(d.claims, name)
		} else if name != c.Name && other.ID == c.ID && (c.ID != "" || other.Source.Overlaps(c.Source)) {
			return false, fmt.Errorf("%s is used by %s already", c.what(), name)
		}
	}
	if d.claims == nil {
		d.claims = map[string]held{}
	}
	renewed = d.claims[c.Name].Claim == c
	d.claims[c.Name] = held{c, now.Add(Lease)}
	return renewed, nil
}

func (c *Claim) what() string {
	if c.ID != "" {
		return fmt.Sprintf("registration %s", Show([]byte(c.ID)))
	}
	return fmt.Sprintf("source %s", c.Source)
}

// Release ends the claim of an owner.
func (d *Registry) Release(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.claims, name)
}

// Names returns the owners of all valid claims, sorted.
func (d *Registry) Names(now time.Time) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name, c := range d.claims {
		if !now.After(c.until) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// byAddress finds the claim of a DTU that is identified by its address alone.
func (d *Registry) byAddress(from netip.Addr, now time.Time) *Claim {
	return d.find(now, func(c *Claim) bool { return c.ID == "" && c.Source.Contains(from) })
}

// byID finds the claim to a registration. why says why there is none; the registration may be
// known, but from another address.
func (d *Registry) byID(id string, from netip.Addr, now time.Time) (c *Claim, why string) {
	c = d.find(now, func(c *Claim) bool { return c.ID != "" && c.ID == id })
	switch {
	case c == nil:
		return nil, "no dtu-link has this registration"
	case c.Source.IsValid() && !c.Source.Contains(from):
		return nil, fmt.Sprintf("the registration belongs to %s, which must connect from %s", c.Name, c.Source)
	}
	return c, ""
}

func (d *Registry) find(now time.Time, is func(*Claim) bool) *Claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.claims {
		if !now.After(c.until) && is(c.Claim) {
			return c.Claim
		}
	}
	return nil
}

// Bytes parses a packet as written in config: text as it is, bytes as 0x0a0b0c.
func Bytes(s string) ([]byte, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok {
		return []byte(s), nil
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%q is not a sequence of bytes like 0x0a1b", s)
	}
	return b, nil
}

// Show formats a packet as it is written in config.
func Show(b []byte) string {
	if text := string(b); !strings.HasPrefix(text, "0x") && !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' }) {
		return text
	}
	return "0x" + hex.EncodeToString(b)
}

// Source parses an address or a network as written in config. An empty string gives an invalid
// prefix.
func Source(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap() // callers' addresses are unmapped too
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is neither an IP address nor a network like 10.8.0.0/24", s)
	}
	return p.Masked(), nil
}

// Messages between the actors of a listener and its links, in addition to *Claim.
type (
	// Claimed is the answer to a Claim.
	Claimed struct{}
	// Release ends the claim of Name.
	Release struct{ Name string }
)
