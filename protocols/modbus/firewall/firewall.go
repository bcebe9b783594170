// Package firewall decides what a caller may do to a Modbus unit: by who he is, which unit, function, addresses and values he
// means, how often and when. It is a pure function of rules, request and time; who asks it, and what becomes of its verdict, is
// the actors' business. DESIGN.md says why it decides the way it does.
package firewall

import (
	"fmt"
	"time"

	"gatewayd/protocols/modbus"
)

// Action is what becomes of a request. A larger one is stricter.
type Action uint8

// The actions, from the mildest to the strictest.
const (
	Allow   Action = iota
	Verify         // allowed, and what was written is read back
	Swallow        // confirmed to the caller, never sent
	Deny           // refused; in Modbus exception 1
)

var actions = [...]string{"allow", "allow+verify", "swallow", "deny"}

// String is the action as rules spell it.
func (a Action) String() string { return actions[a] }

// ParseAction is the action that a rule spells so.
func ParseAction(s string) (Action, error) {
	for i, name := range actions {
		if s == name {
			return Action(i), nil
		}
	}
	return Deny, fmt.Errorf("action %q is not one of allow, allow+verify, swallow, deny", s)
}

// Question is one request of one caller. It is also what an actor asks the one that keeps the rules; the answer is a *Judged.
type Question struct {
	Identity string // of the caller, e.g. "mqtt/boiler-1"
	Unit     string // path of the unit's actor, or <link>/<address> where none is asked
	Link     string // path of the line or link that it is behind, as unit Request.Unit; no rule asks for it
	Request  modbus.Request
	Tag      any // of the asker; not looked at
}

// Judged is the answer of the actor that keeps the rules.
type Judged struct {
	Question *Question
	Verdict  Verdict
}

// Verdict is the answer to a Question.
type Verdict struct {
	Action Action
	Rule   string // that decided; empty: none did
	Why    string // for the caller who is refused
}

// Firewall is rules in force. It belongs to one goroutine.
type Firewall struct {
	rules     []*rule
	otherwise Action
	spent     map[purse][]time.Time // when a rule with a rate let something through, oldest first
	places    map[string]place      // where units are, by the paths that they were asked about by
}

// purse is what a rate is counted by.
type purse struct {
	rule int
	at   place
}

// place is where a unit is, whichever way it is reached; of one that is behind no known link it is the path.
type place struct {
	link    string
	address uint8
}

// New puts rules in force; otherwise, Allow or Deny, is for what no rule matches.
func New(rules []Rule, otherwise Action) (*Firewall, error) {
	f := &Firewall{otherwise: otherwise, spent: map[purse][]time.Time{}, places: map[string]place{}}
	for _, r := range rules {
		c, err := r.compile()
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
		f.rules = append(f.rules, c)
	}
	return f, nil
}

// Judge decides, and counts what it lets through against the rates. Time must not go backwards.
func (f *Firewall) Judge(q Question, now time.Time) Verdict { return f.judge(q, now, true) }

// Look is Judge without counting: what would be, if the question were asked.
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
			if !f.within(purse{i, at}, now) {
				r := f.rules[i]
				return Verdict{Action: Deny, Rule: r.Name, Why: fmt.Sprintf("more than %d in %s by rule %s", r.Rate, r.Per, r.Name)}
			}
		}
		if count {
			for _, i := range d.rated {
				key := purse{i, at}
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

// mute tells the functions whose answer says nothing that the caller does not know. That of others cannot be made up.
func mute(function uint8) bool {
	switch function {
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters, modbus.MaskWriteRegister:
		return true
	}
	return false
}

// decision gathers what the rules say to the parts of one request.
type decision struct {
	action Action
	by     int   // the first rule with that action
	rated  []int // rules with a rate that have a say
}

func (d *decision) add(i int, r *rule) {
	if d.by < 0 || r.Action > d.action {
		d.action, d.by = r.Action, i
	}
	if r.Rate > 0 {
		d.rated = append(d.rated, i)
	}
}

// place is where the unit of a question is. Who does not say it, as who only wants to know, means where it was last.
func (f *Firewall) place(q Question) place {
	if q.Link != "" {
		f.places[q.Unit] = place{q.Link, q.Request.Unit}
	}
	if p, known := f.places[q.Unit]; known {
		return p
	}
	return place{link: q.Unit}
}

// within forgets what is older than the rule's window and says whether one more fits.
func (f *Firewall) within(key purse, now time.Time) bool {
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

// Open is the verdict on what is asked of a unit that no firewall protects.
func Open(identity string) Verdict {
	if mustBeNamed(identity) {
		return Verdict{Action: Deny, Why: "no firewall protects this unit, and callers of the cookie protocol need a rule that allows it"}
	}
	return Verdict{Action: Allow}
}
