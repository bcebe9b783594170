// Package firewall decides what a caller may do to a Modbus unit, depending on the caller's
// identity, the unit, function, addresses and values, the rate and the time. It is a pure function
// of rules, request and time; asking it and carrying out its verdicts is up to the actors.
// DESIGN.md explains how it decides and why.
package firewall

import (
	"fmt"
	"time"

	"gatewayd/protocols/modbus"
)

// Action is what is done with a request. A larger value is stricter.
type Action uint8

// The actions, from the mildest to the strictest.
const (
	Allow   Action = iota
	Verify         // allowed, and written values are read back
	Swallow        // confirmed to the caller, but never sent
	Deny           // refused; as a Modbus answer, exception 1
)

var actions = [...]string{"allow", "allow+verify", "swallow", "deny"}

// String returns the action as it is written in rules.
func (a Action) String() string { return actions[a] }

// ParseAction returns the Action whose String is s.
func ParseAction(s string) (Action, error) {
	for i, name := range actions {
		if s == name {
			return Action(i), nil
		}
	}
	return Deny, fmt.Errorf("action %q is not one of allow, allow+verify, swallow, deny", s)
}

// Question is one request of one caller. It is also the message by which an actor asks the one that
// keeps the rules; the answer is a *Judged.
type Question struct {
	Identity string // of the caller, for instance "mqtt/boiler-1"
	Unit     string // path of the unit's actor, or <link>/<address> if no such actor is involved
	// Link is the path of the line or link to the unit, whose address there is Request.Unit; not matched by
	// rules
	Link    string
	Request modbus.Request
	Tag     any // for the asker; not used here
}

// Judged is the answer of the actor that keeps the rules.
type Judged struct {
	Question *Question
	Verdict  Verdict
}

// Verdict is the decision on a Question.
type Verdict struct {
	Action Action
	Rule   string // the deciding rule; empty: none
	Why    string // reason, for a caller that is refused
}

// Firewall is a set of rules in force. It is not safe for concurrent use.
type Firewall struct {
	rules     []*rule
	otherwise Action
	spent     map[rateKey][]time.Time // when a rule with a rate allowed something, oldest first
	places    map[string]place        // where units are, by the paths used in questions
}

// rateKey is the key by which a rate is counted.
type rateKey struct {
	rule int
	at   place
}

// place is where a unit is, however it is reached. If the link of a unit is unknown, it is the
// unit's path.
type place struct {
	link    string
	address uint8
}

// New returns a Firewall with the rules. otherwise, Allow or Deny, applies to what no rule matches.
func New(rules []Rule, otherwise Action) (*Firewall, error) {
	f := &Firewall{otherwise: otherwise, spent: map[rateKey][]time.Time{}, places: map[string]place{}}
	for _, r := range rules {
		c, err := r.compile()
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		f.rules = append(f.rules, c)
	}
	return f, nil
}

// Judge decides, and counts allowed requests against the rates. now must not go backwards.
func (f *Firewall) Judge(q Question, now time.Time) Verdict { return f.judge(q, now, true) }

// Look returns what Judge would decide, without counting.
func (f *Firewall) Look(q Question, now time.Time) Verdict { return f.judge(q, now, false) }

func (f *Firewall) judge(q Question, now time.Time, count bool) Verdict {
	d := decision{action: Allow, by: -1}
	left := touches(q.Request)
	for i, r := range f.rules {
		if len(left) == 0 {
			break
		}
		if !r.concerns(q, now) {
			continue
		}
		var hit bool
		if left, hit = r.take(left); hit {
			d.add(i, r)
		}
	}
	open := f.otherwise == Allow && !mustBeNamed(q.Identity)
	switch {
	case len(left) > 0 && !open && d.action < Deny:
		return Verdict{Action: Deny, Why: "no rule allows it"}
	case d.by < 0:
		return Verdict{Action: Allow}
	}
	if d.action == Swallow && !mute(q.Request.Function) {
		d.action = Deny
	}
	if d.action <= Verify && len(d.rated) > 0 {
		at := f.place(q)
		for _, i := range d.rated {
			if !f.within(rateKey{i, at}, now) {
				r := f.rules[i]
				return Verdict{Action: Deny, Rule: r.Name, Why: fmt.Sprintf("more than %d in %s by rule %s", r.Rate, r.Per, r.Name)}
			}
		}
		if count {
			for _, i := range d.rated {
				key := rateKey{i, at}
				f.spent[key] = append(f.spent[key], now)
			}
		}
	}
	v := Verdict{Action: d.action, Rule: f.rules[d.by].Name}
	if d.action == Deny {
		v.Why = "denied by rule " + v.Rule
	}
	return v
}

// mute reports whether the answer to a function contains nothing that the caller does not know.
// Other answers cannot be fabricated.
func mute(function uint8) bool {
	switch function {
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters, modbus.MaskWriteRegister:
		return true
	}
	return false
}

// decision collects the verdicts of the rules on the parts of one request.
type decision struct {
	action Action
	by     int   // the first rule with that action
	rated  []int // rules with a rate that apply
}

func (d *decision) add(i int, r *rule) {
	if d.by < 0 || r.Action > d.action {
		d.action, d.by = r.Action, i
	}
	if r.Rate > 0 {
		d.rated = append(d.rated, i)
	}
}

// place returns where the unit of a question is. A question without a link, for instance for Look,
// refers to the last known place.
func (f *Firewall) place(q Question) place {
	if q.Link != "" {
		f.places[q.Unit] = place{q.Link, q.Request.Unit}
	}
	if p, known := f.places[q.Unit]; known {
		return p
	}
	return place{link: q.Unit}
}

// within drops the entries older than the rule's window and reports whether one more request is
// within the rate.
func (f *Firewall) within(key rateKey, now time.Time) bool {
	r := f.rules[key.rule]
	times := f.spent[key]
	old := 0
	for old < len(times) && now.Sub(times[old]) >= r.Per {
		old++
	}
	if old > 0 {
		times = append(times[:0], times[old:]...)
		f.spent[key] = times
	}
	return len(times) < r.Rate
}

// Open returns the verdict on requests to a unit that no firewall protects.
func Open(identity string) Verdict {
	if mustBeNamed(identity) {
		return Verdict{Action: Deny, Why: "this unit has no firewall: requests by the cookie protocol need a rule that allows them"}
	}
	return Verdict{Action: Allow}
}
