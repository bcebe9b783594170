// Package srv finds the hosts that offer a service by DNS SRV records (RFC 2782), with their
// addresses, in the order in which to try them. It reads resolv.conf at every call, because the
// name servers of a gateway depend on which modem is up, and reports if there are none yet. It does
// not support search lists, the hosts file or internationalised names, and it caches nothing.
package srv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	// ErrNoNameserver is returned if no name server is configured: no link is up yet.
	ErrNoNameserver = errors.New("no name server is configured")
	// ErrNotFound is returned if a name server says that there is no such name, or no record of
	// that type.
	ErrNotFound = errors.New("no such record")
	// ErrNotOffered is returned if the domain declares that it does not offer the service (a target
	// of ".").
	ErrNotOffered = errors.New("the service is declared not available")
)

// Resolver asks the name servers of a resolv.conf. The zero value uses the system's.
type Resolver struct {
	File string // path of resolv.conf; empty: /etc/resolv.conf
	Port uint16 // of the name servers; 0: 53
}

// Target is one host that offers the service.
type Target struct {
	Host     string // without the final dot; the certificate must be valid for this name
	Port     uint16
	Priority uint16 // lower is tried first
	Weight   uint16 // relative share of the first attempts among targets of the same priority
	Addrs    []netip.Addr
}

const (
	maxTargets = 32 // of one service that are tried; see cut
	maxAddrs   = 16 // of one host
	maxAliases = 8  // in a chain
	maxNamed   = 3  // unreachable targets named in an error
	minTry     = 2 * time.Second
	defaultTry = 10 * time.Second // time per attempt to connect, if ctx has no deadline
)

// Lookup returns the targets of a service, such as "_mdi._tcp.example.com", in the order in which
// to try them; the random choice by weight is made anew at every call. Targets without an address
// are left out; the error says why if none is left.
func (r Resolver) Lookup(ctx context.Context, name string) ([]Target, error) {
	a, err := r.begin()
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	got, err := a.follow(ctx, name, dnsmessage.TypeSRV)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	targets := got.targets
	if len(targets) == 1 && targets[0].Host == "" {
		return nil, fmt.Errorf("service %s: %w", name, ErrNotOffered)
	}
	targets = slices.DeleteFunc(targets, func(t Target) bool { return t.Host == "" })
	order(targets, rand.Uint64N)
	targets = cut(targets)
	if err := a.addresses(ctx, targets, got.extra); err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	return slices.DeleteFunc(targets, func(t Target) bool { return len(t.Addrs) == 0 }), nil
}

// Host returns the addresses of a host, IPv6 first.
func (r Resolver) Host(ctx context.Context, name string) ([]netip.Addr, error) {
	a, err := r.begin()
	if err == nil {
		var all []netip.Addr
		if all, err = a.host(ctx, name); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("host %s: %w", name, err)
}

// Dial looks up the service and connects to the first address that accepts; each gets its share of
// the time left. It returns the target reached, whose Host TLS must verify.
func (r Resolver) Dial(ctx context.Context, name string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, Target, error) {
	targets, err := r.Lookup(ctx, name)
	if err != nil {
		return nil, Target{}, err
	}
	left := 0
	for _, t := range targets {
		left += len(t.Addrs)
	}
	var failed []string
	for _, t := range targets {
		for _, addr := range t.Addrs {
			conn, err := try(ctx, left, net.JoinHostPort(addr.String(), strconv.Itoa(int(t.Port))), dial)
			if err == nil {
				return conn, t, nil
			}
			failed = append(failed, fmt.Sprintf("%s: %v", t.Host, err))
			left--
		}
	}
	more := ""
	if n := len(failed) - maxNamed; n > 0 {
		failed, more = failed[:maxNamed], fmt.Sprintf("; and %d more", n)
	}
	return nil, Target{}, fmt.Errorf("service %s: no server accepts a connection: %s%s", name, strings.Join(failed, "; "), more)
}

// try dials one address; left is how many remain, including this one.
func try(ctx context.Context, left int, address string, dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, error) {
	share := defaultTry
	if at, limited := ctx.Deadline(); limited {
		share = max(time.Until(at)/time.Duration(left), minTry)
	}
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	return dial(ctx, "tcp", address)
}

// order sorts targets as in RFC 2782: by priority, and among equals by a random choice in
// proportion to weight, in which targets of weight 0 have a small chance. draw(n) returns a number
// below n.
func order(targets []Target, draw func(n uint64) uint64) {
	slices.SortStableFunc(targets, func(a, b Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(min(a.Weight, 1), min(b.Weight, 1)))
	})
	for rest := targets; len(rest) > 0; rest = rest[1:] {
		var total uint64
		for _, t := range rest {
			if t.Priority == rest[0].Priority {
				total += uint64(t.Weight)
			}
		}
		at, n := 0, draw(total+1)
		for sum := uint64(rest[0].Weight); sum < n; sum += uint64(rest[at].Weight) {
			at++
		}
		chosen := rest[at]
		copy(rest[1:at+1], rest[:at])
		rest[0] = chosen
	}
}

// cut shortens a sorted list: it keeps the first targets and at least one of each priority, so that
// the backups are reached even if there are many targets that are down.
func cut(targets []Target) []Target {
	heads := 0
	for i := range targets {
		if i == 0 || targets[i].Priority != targets[i-1].Priority {
			heads++
		}
	}
	others, last := max(maxTargets-heads, 0), 0
	kept := targets[:0]
	for i, t := range targets {
		head := i == 0 || int(t.Priority) != last
		last = int(t.Priority)
		if !head && others == 0 || len(kept) == maxTargets {
			continue
		}
		if !head {
			others--
		}
		kept = append(kept, t)
	}
	return kept
}

// addresses fills in the addresses of all targets concurrently, from the answer or by asking.
func (a *asking) addresses(ctx context.Context, targets []Target, extra map[string][]netip.Addr) error {
	errs := make(several, len(targets))
	var all sync.WaitGroup
	for i := range targets {
		t := &targets[i]
		if t.Addrs = extra[key(t.Host)]; len(t.Addrs) > 0 {
			continue
		}
		all.Go(func() { t.Addrs, errs[i] = a.host(ctx, t.Host) })
	}
	all.Wait()
	for i := range targets {
		if len(targets[i].Addrs) > 0 {
			return nil
		}
		errs[i] = fmt.Errorf("target %s: %w", targets[i].Host, errs[i])
	}
	if len(errs) == 0 {
		return ErrNotFound
	}
	return errs
}

// host asks for both kinds of addresses concurrently. One kind suffices.
func (a *asking) host(ctx context.Context, name string) ([]netip.Addr, error) {
	var four, six reply
	var err4, err6 error
	var both sync.WaitGroup
	both.Go(func() { four, err4 = a.follow(ctx, name, dnsmessage.TypeA) })
	both.Go(func() { six, err6 = a.follow(ctx, name, dnsmessage.TypeAAAA) })
	both.Wait()
	all := append(six.addrs, four.addrs...)
	switch {
	case len(all) > 0:
		return all, nil
	case errors.Is(err4, ErrNotFound) && err6 != nil:
		return nil, err6 // the error that is less definite
	}
	return nil, err4
}

// follow asks until aliases are resolved.
func (a *asking) follow(ctx context.Context, name string, kind dnsmessage.Type) (reply, error) {
	for range maxAliases {
		got, err := a.ask(ctx, name, kind)
		if err != nil {
			return reply{}, err
		}
		if len(got.targets) > 0 || len(got.addrs) > 0 {
			return got, nil
		}
		if key(got.name) == key(name) {
			return reply{}, ErrNotFound
		}
		name = got.name
	}
	return reply{}, fmt.Errorf("more than %d aliases one after the other", maxAliases)
}

// several prints errors in one line, each once.
type several []error

func (all several) Unwrap() []error { return all }

func (all several) Error() string {
	var texts []string
	for _, err := range all {
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	return strings.Join(texts, "; ")
}
