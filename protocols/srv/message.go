package srv

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// reply is the relevant part of an answer.
type reply struct {
	code      dnsmessage.RCode
	truncated bool
	empty     bool   // a referral, from a server that neither knows nor asks others
	name      string // canonical name after following aliases; the name asked for if there are none

	targets []Target
	addrs   []netip.Addr
	extra   map[string][]netip.Addr // addresses of hosts, by key
}

// largest is the largest UDP answer accepted: the size that passes every network without
// fragmentation (DNS flag day 2020).
const largest = 1232

var errForeign = errors.New("the answer is to another question")

// query returns a query with a transaction id; with EDNS, it announces that large answers are
// accepted.
func query(id uint16, name string, kind dnsmessage.Type, edns bool) ([]byte, error) {
	q, err := question(name, kind)
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true}, Questions: []dnsmessage.Question{q}}
	if edns {
		opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		if err := opt.Header.SetEDNS0(largest, dnsmessage.RCodeSuccess, false); err != nil {
			return nil, err
		}
		m.Additionals = []dnsmessage.Resource{opt}
	}
	return m.Pack()
}

// question returns an error for names that no host or service can have, before any server is asked.
func question(name string, kind dnsmessage.Type) (dnsmessage.Question, error) {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return dnsmessage.Question{}, errors.New("longer than 253 characters")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return dnsmessage.Question{}, fmt.Errorf("label %q must have 1 to 63 characters", label)
		}
		for _, c := range []byte(label) {
			if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return dnsmessage.Question{}, fmt.Errorf("label %q may have letters, digits, - and _", label)
			}
		}
	}
	n, err := dnsmessage.NewName(name + ".")
	return dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}, err
}

// parse parses an answer. It returns errForeign if it is not an answer to this question, and
// another error if it is but makes no sense.
func parse(msg []byte, id uint16, name string, kind dnsmessage.Type) (reply, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != id || !h.Response || h.OpCode != 0 {
		return reply{}, errForeign
	}
	r := reply{code: h.RCode, truncated: h.Truncated, name: name, extra: map[string][]netip.Addr{}}
	q, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) && h.RCode != dnsmessage.RCodeSuccess {
		return r, nil // a server that does not understand the question need not repeat it
	}
	if err != nil || key(q.Name.String()) != key(name) || q.Type != kind || q.Class != dnsmessage.ClassINET {
		return reply{}, errForeign
	}
	if _, err = p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return reply{}, errForeign
	}
	if h.Truncated || h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError {
		return r, nil
	}
	found := records{aliases: map[string]string{}, targets: map[string][]Target{}, addrs: map[string][]netip.Addr{}}
	if err := found.section(p.AnswerHeader, &p); err != nil {
		return reply{}, err
	}
	r.empty = found.n == 0 && !h.RecursionAvailable && !h.Authoritative
	if err := p.SkipAllAuthorities(); err != nil {
		return reply{}, err
	}
	extra := records{addrs: map[string][]netip.Addr{}, targets: map[string][]Target{}, aliases: map[string]string{}}
	if err := extra.section(p.AdditionalHeader, &p); err != nil {
		return reply{}, err
	}
	r.extra = extra.addrs
	if r.name, err = found.end(name); err != nil {
		return reply{}, err
	}
	switch kind {
	case dnsmessage.TypeSRV:
		r.targets = found.targets[key(r.name)]
	default:
		r.addrs = found.addrs[key(r.name)]
	}
	return r, nil
}

// records are the records of one section by owner.
type records struct {
	n       int
	aliases map[string]string
	targets map[string][]Target
	addrs   map[string][]netip.Addr
}

func (all *records) section(next func() (dnsmessage.ResourceHeader, error), p *dnsmessage.Parser) error {
	for {
		h, err := next()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err == nil {
			err = all.record(h, p)
		}
		if err != nil {
			return err
		}
		all.n++
	}
}

func (all *records) record(h dnsmessage.ResourceHeader, p *dnsmessage.Parser) error {
	owner := key(h.Name.String())
	if h.Class != dnsmessage.ClassINET {
		_, err := p.UnknownResource() // for instance of EDNS
		return err
	}
	switch h.Type {
	case dnsmessage.TypeCNAME:
		c, err := p.CNAMEResource()
		all.aliases[owner] = host(c.CNAME)
		return err
	case dnsmessage.TypeSRV:
		s, err := p.SRVResource()
		all.targets[owner] = append(all.targets[owner], Target{Host: host(s.Target), Port: s.Port, Priority: s.Priority, Weight: s.Weight})
		return err
	case dnsmessage.TypeA:
		a, err := p.AResource()
		all.address(owner, netip.AddrFrom4(a.A))
		return err
	case dnsmessage.TypeAAAA:
		a, err := p.AAAAResource()
		all.address(owner, netip.AddrFrom16(a.AAAA).Unmap())
		return err
	}
	_, err := p.UnknownResource()
	return err
}

func (all *records) address(owner string, a netip.Addr) {
	if len(all.addrs[owner]) < maxAddrs {
		all.addrs[owner] = append(all.addrs[owner], a)
	}
}

// end follows the aliases in one answer.
func (all *records) end(name string) (string, error) {
	for range maxAliases {
		next, alias := all.aliases[key(name)]
		if !alias {
			return name, nil
		}
		name = next
	}
	return "", fmt.Errorf("more than %d aliases one after the other", maxAliases)
}

// host returns a name in the usual notation; empty for the root.
func host(n dnsmessage.Name) string { return strings.TrimSuffix(n.String(), ".") }

// key normalises a name.
func key(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
