package firewall

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cookie is the prefix of identities of the cookie protocol. They may do only what a rule allows,
// whatever the default.
const Cookie = "cookie/"

func mustBeNamed(identity string) bool { return strings.HasPrefix(identity, Cookie) }

// maxRate is the largest number of requests in a rate. Each takes a few bytes while its window
// lasts.
const maxRate = 1000

// Rule is one rule. Empty fields match everything.
type Rule struct {
	Name       string
	Action     Action
	Identities []string // patterns of callers: * is any text without "/", ** any text
	Units      []string // patterns of the paths of unit actors
	Functions  []string // "read", "write" or a function code
	Addresses  []string // coils or registers, counted from 0: "7", "100-199"
	Values     []string // value written to one register or coil: "0", "0-500"
	Times      []string // when the rule is in force: "mon-fri 06:00-18:00"
	Rate       int      // maximum number of requests it allows to one unit within Per; 0: any number
	Per        time.Duration
}

type rule struct {
	Rule
	identities, units *regexp.Regexp // nil: any
	read, write       bool           // "read" and "write" in Functions
	codes             []uint8
	anyFunction       bool
	addresses, values []span
	times             []window
}

// span is the range from lo to hi, both included.
type span struct{ lo, hi int }

func (r Rule) compile() (*rule, error) {
	c := &rule{Rule: r, anyFunction: len(r.Functions) == 0}
	var errs [4]error
	c.identities, c.units = patterns(r.Identities), patterns(r.Units)
	errs[0] = c.functions()
	c.addresses, errs[1] = spans("address", r.Addresses)
	c.values, errs[2] = spans("value", r.Values)
	for _, s := range r.Times {
		w, err := parseWindow(s)
		errs[3] = errors.Join(errs[3], err)
		c.times = append(c.times, w)
	}
	switch err := errors.Join(errs[:]...); {
	case err != nil:
		return nil, err
	case r.Rate < 0 || r.Rate > maxRate || r.Rate > 0 && r.Per <= 0:
		return nil, fmt.Errorf("rate %d in %s: must be 1 to %d in a duration above 0", r.Rate, r.Per, maxRate)
	case r.Rate > 0 && r.Action > Verify:
		return nil, fmt.Errorf("a rate limits what is allowed; it has no meaning with action %s", r.Action)
	}
	return c, nil
}

// patterns returns one expression that matches any of the patterns.
func patterns(all []string) *regexp.Regexp {
	if len(all) == 0 {
		return nil
	}
	var b strings.Builder
	for i, p := range all {
		if i > 0 {
			b.WriteByte('|')
		}
		p = regexp.QuoteMeta(p)
		p = strings.ReplaceAll(p, `\*\*`, "(?s:.*)")
		b.WriteString(strings.ReplaceAll(p, `\*`, "[^/]*"))
	}
	return regexp.MustCompile("^(?:" + b.String() + ")$")
}

func (r *rule) functions() error {
	for _, s := range r.Functions {
		switch s {
		case "read":
			r.read = true
		case "write":
			r.write = true
		default:
			n, err := strconv.ParseUint(s, 10, 8)
			if err != nil || n < 1 || n > 127 {
				return fmt.Errorf("function %q is not read, write or a number from 1 to 127", s)
			}
			r.codes = append(r.codes, uint8(n))
		}
	}
	return nil
}

func spans(what string, all []string) ([]span, error) {
	var list []span
	for _, s := range all {
		first, last, isRange := strings.Cut(s, "-")
		if !isRange {
			last = first
		}
		lo, err1 := strconv.ParseUint(first, 10, 16)
		hi, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || lo > hi {
			return nil, fmt.Errorf("%s %q is neither a number from 0 to 65535 nor a range like 100-199", what, s)
		}
		list = append(list, span{int(lo), int(hi)})
	}
	return list, nil
}

// concerns reports whether caller, unit and time match the rule.
func (r *rule) concerns(q Question, now time.Time) bool {
	if r.identities != nil && !r.identities.MatchString(q.Identity) || r.units != nil && !r.units.MatchString(q.Unit) {
		return false
	}
	return len(r.times) == 0 || slices.ContainsFunc(r.times, func(w window) bool { return w.holds(now) })
}

// take applies the rule to the parts of a request that it matches, and returns the parts left to
// the following rules.
func (r *rule) take(parts []part) (left []part, hit bool) {
	for _, p := range parts {
		if !r.takesFunction(p) || r.Action == Swallow && !p.write {
			left = append(left, p)
			continue
		}
		rest := r.cut(p)
		left = append(left, rest...)
		size := p.size()
		for _, q := range rest {
			size -= q.size()
		}
		hit = hit || size > 0
	}
	return left, hit
}

func (r *rule) takesFunction(p part) bool {
	return r.anyFunction || p.write && r.write || !p.write && r.read || slices.Contains(r.codes, p.function)
}

// cut returns what remains of p after the rule has taken its part.
func (r *rule) cut(p part) []part {
	if p.bare() {
		if len(r.addresses)+len(r.values) > 0 {
			return []part{p}
		}
		return nil
	}
	if len(r.addresses) == 0 {
		return r.cutValues(p, nil)
	}
	rest := []part{p}
	for _, a := range r.addresses {
		var next []part
		for _, q := range rest {
			lo, hi := max(q.lo, a.lo), min(q.hi, a.hi)
			if lo > hi {
				next = append(next, q)
				continue
			}
			if q.lo < lo {
				next = append(next, q.between(q.lo, lo-1))
			}
			next = r.cutValues(q.between(lo, hi), next)
			if hi < q.hi {
				next = append(next, q.between(hi+1, q.hi))
			}
		}
		rest = next
	}
	return rest
}

// cutValues appends to rest the parts of p whose values the rule does not match.
func (r *rule) cutValues(p part, rest []part) []part {
	if len(r.values) == 0 {
		return rest
	}
	if !p.write {
		return append(rest, p)
	}
	from := -1 // start of a run that does not match
	for at := p.lo; at <= p.hi; at++ {
		switch match := r.takesValue(p.value(at)); {
		case !match && from < 0:
			from = at
		case match && from >= 0:
			rest = append(rest, p.between(from, at-1))
			from = -1
		}
	}
	if from >= 0 {
		rest = append(rest, p.between(from, p.hi))
	}
	return rest
}

// takesValue reports whether the rule matches a write whose result lies within v: a rule that
// allows must cover all of v, a rule that stops needs to meet only a part of it.
func (r *rule) takesValue(v span) bool {
	return slices.ContainsFunc(r.values, func(s span) bool {
		if r.Action <= Verify {
			return s.lo <= v.lo && v.hi <= s.hi
		}
		return s.lo <= v.hi && v.lo <= s.hi
	})
}
