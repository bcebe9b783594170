package firewall_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/firewall"
)

// model is the simplest expression of the rules: every single coil and register is checked against
// every rule in turn.
type model struct {
	rules     []firewall.Rule
	otherwise firewall.Action
	let       []passed
}

type passed struct {
	rule int
	unit string
	at   time.Time
}

// thing is one coil or register of a request; bare: the request has none.
type thing struct {
	bare, write    bool
	at, least, top int
}

func things(r modbus.Request) []thing {
	word := func(i int) int { return int(r.Data[2*i])<<8 | int(r.Data[2*i+1]) }
	var all []thing
	switch r.Function {
	case 1, 2, 3, 4:
		for i := range int(r.Quantity) {
			all = append(all, thing{at: int(r.Address) + i})
		}
	case 24:
		all = append(all, thing{at: int(r.Address)})
	case 5:
		on := 0
		if r.Data[0] == 0xff {
			on = 1
		}
		all = append(all, thing{write: true, at: int(r.Address), least: on, top: on})
	case 15:
		for i := range int(r.Quantity) {
			on := int(r.Data[i/8]) >> (i % 8) % 2
			all = append(all, thing{write: true, at: int(r.Address) + i, least: on, top: on})
		}
	case 6, 16:
		for i := range len(r.Data) / 2 {
			all = append(all, thing{write: true, at: int(r.Address) + i, least: word(i), top: word(i)})
		}
	case 22: // the specification's formula, applied to the smallest and the largest possible register
		after := func(before int) int { return before&word(0) | word(1)&^word(0) }
		all = append(all, thing{write: true, at: int(r.Address), least: after(0), top: after(65535)})
	case 23:
		for i := range int(r.Quantity) {
			all = append(all, thing{at: int(r.Address) + i})
		}
		for i := range len(r.Data) / 2 {
			all = append(all, thing{write: true, at: int(r.WriteAddress) + i, least: word(i), top: word(i)})
		}
	default:
		all = append(all, thing{bare: true, write: r.Write()})
	}
	return all
}

// where returns the place of a unit, whatever it is called.
func where(q firewall.Question) string {
	if q.Link == "" {
		return q.Unit
	}
	return fmt.Sprint(q.Link, " ", q.Request.Unit)
}

func glob(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case strings.HasPrefix(pattern, "**"):
		for i := range len(s) + 1 {
			if glob(pattern[2:], s[i:]) {
				return true
			}
		}
		return false
	case pattern[0] == '*':
		for i := 0; i <= len(s); i++ {
			if glob(pattern[1:], s[i:]) {
				return true
			}
			if i < len(s) && s[i] == '/' {
				return false
			}
		}
		return false
	}
	return s != "" && s[0] == pattern[0] && glob(pattern[1:], s[1:])
}

func anyOf(list []string, fn func(string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, fn)
}

func bounds(s string) (int, int) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, _ := strconv.Atoi(first)
	b, _ := strconv.Atoi(last)
	return a, b
}

// inTime checks every minute of the windows that began today and yesterday.
func inTime(s string, now time.Time) bool {
	days, hours, _ := strings.Cut(s, " ")
	from, to, _ := strings.Cut(hours, "-")
	for back := range 2 {
		begun := time.Date(now.Year(), now.Month(), now.Day()-back, 0, 0, 0, 0, now.Location())
		if !strings.Contains(days, strings.ToLower(begun.Weekday().String()[:3])) {
			continue
		}
		t := begun
		for ; t.Format("15:04") != from; t = t.Add(time.Minute) {
		}
		for first := true; first || t.Format("15:04") != to; t = t.Add(time.Minute) {
			first = false
			if t.Format("2006-01-02 15:04") == now.Format("2006-01-02 15:04") {
				return true
			}
		}
	}
	return false
}

func (m *model) matches(r firewall.Rule, q firewall.Question, x thing, now time.Time) bool {
	if r.Action == firewall.Swallow && !x.write || x.bare && len(r.Addresses)+len(r.Values) > 0 || !x.write && len(r.Values) > 0 {
		return false
	}
	word := map[bool]string{true: "write", false: "read"}[x.write]
	return anyOf(r.Identities, func(p string) bool { return glob(p, q.Identity) }) &&
		anyOf(r.Units, func(p string) bool { return glob(p, q.Unit) }) &&
		anyOf(r.Times, func(w string) bool { return inTime(w, now) }) &&
		anyOf(r.Functions, func(s string) bool { return s == word || s == fmt.Sprint(q.Request.Function) }) &&
		anyOf(r.Addresses, func(s string) bool { a, b := bounds(s); return a <= x.at && x.at <= b }) &&
		anyOf(r.Values, func(s string) bool {
			a, b := bounds(s)
			if r.Action == firewall.Allow || r.Action == firewall.Verify {
				return a <= x.least && x.top <= b
			}
			return a <= x.top && x.least <= b
		})
}

func (m *model) judge(q firewall.Question, now time.Time) (firewall.Action, string) {
	none := len(m.rules)
	worst, by, used := firewall.Allow, none+1, map[int]bool{}
	for _, x := range things(q.Request) {
		i := slices.IndexFunc(m.rules, func(r firewall.Rule) bool { return m.matches(r, q, x, now) })
		action := m.otherwise
		if i < 0 {
			i = none
			if strings.HasPrefix(q.Identity, "cookie/") {
				action = firewall.Deny
			}
		} else {
			action = m.rules[i].Action
			used[i] = true
		}
		if action > worst || action == worst && i < by {
			worst, by = action, i
		}
	}
	if worst == firewall.Swallow && !slices.Contains([]uint8{5, 6, 15, 16, 22}, q.Request.Function) {
		worst = firewall.Deny
	}
	if worst <= firewall.Verify {
		for i, r := range m.rules {
			n := 0
			for _, p := range m.let {
				if p.rule == i && p.unit == where(q) && now.Sub(p.at) < r.Per {
					n++
				}
			}
			if used[i] && r.Rate > 0 && n >= r.Rate {
				return firewall.Deny, r.Name
			}
		}
		for i := range used {
			if m.rules[i].Rate > 0 {
				m.let = append(m.let, passed{i, where(q), now})
			}
		}
	}
	if by == none {
		return worst, ""
	}
	return worst, m.rules[by].Name
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func some(r *rand.Rand, from ...string) []string {
	var list []string
	for r.IntN(2) == 0 && len(list) < 3 {
		list = append(list, pick(r, from...))
	}
	return list
}

// near returns numbers close to each other, so that ranges overlap, sometimes at the upper end.
func near(r *rand.Rand) int { return pick(r, 0, 65520)*r.IntN(2) + r.IntN(16) }

func ranges(r *rand.Rand) []string {
	var list []string
	for r.IntN(2) == 0 && len(list) < 3 {
		a := near(r)
		list = append(list, pick(r, strconv.Itoa(a), fmt.Sprintf("%d-%d", a, min(a+r.IntN(12), 65535))))
	}
	return list
}

func randomRule(r *rand.Rand, i int) firewall.Rule {
	rule := firewall.Rule{
		Name: "r" + strconv.Itoa(i), Action: pick(r, firewall.Allow, firewall.Verify, firewall.Swallow, firewall.Deny),
		Identities: some(r, "cookie/*", "mqtt/a", "mqtt/*", "**", "*", "c**1", "mqtt/a.b"), Units: some(r, "field/a", "field/*", "f*/b", "**/a", "field/**", "*"),
		Functions: some(r, "read", "write", "6", "16", "23", "22", "8"), Addresses: ranges(r), Values: ranges(r),
		Times: some(r, "mon,tue 06:00-18:00", "mon 22:00-06:00", "tue,wed 00:00-24:00", "wed 12:00-12:01"),
	}
	if rule.Action <= firewall.Verify && r.IntN(3) == 0 {
		rule.Rate, rule.Per = 1+r.IntN(3), time.Duration(1+r.IntN(600))*time.Second
	}
	for i := range rule.Times { // the model supports no other form, and no 24:00
		rule.Times[i] = strings.Replace(rule.Times[i], "24:00", "00:00", 1)
	}
	return rule
}

func randomRequest(r *rand.Rand) modbus.Request {
	words := func(n int) []uint16 {
		list := make([]uint16, n)
		for i := range list {
			list[i] = uint16(near(r))
		}
		return list
	}
	at := near(r)
	n := min(1+r.IntN(8), 65536-at)
	switch q := (modbus.Request{Address: uint16(at), Quantity: uint16(n)}); r.IntN(8) {
	case 0:
		return write(uint16(at), words(n)...)
	case 1:
		return write(uint16(at), words(1)...)
	case 2:
		w := words(2)
		return mask(uint16(at), w[0], w[1])
	case 3:
		return coils(uint16(at), uint16(n), byte(r.Uint32()))
	case 4:
		return modbus.Request{Function: 5, Address: uint16(at), Data: []byte{pick[byte](r, 0, 0xff), 0}}
	case 5:
		to := near(r)
		return readWrite(uint16(at), uint16(n), uint16(to), words(min(1+r.IntN(4), 65536-to))...)
	case 6:
		return pick(r, modbus.Request{Function: 7}, modbus.Diagnose(1, modbus.RestartCommunications, 0, 0), modbus.Request{Function: 17},
			modbus.Request{Function: 24, Address: uint16(at)}, modbus.Request{Function: 100, Data: []byte{1, 2, 3}})
	default:
		q.Function = pick[uint8](r, 1, 2, 3, 4)
		return q
	}
}

// compare asks the firewall and the model the same questions.
func compare(t *testing.T, seed uint64, questions int) {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &model{otherwise: pick(r, firewall.Allow, firewall.Deny)}
	for i := range r.IntN(7) {
		m.rules = append(m.rules, randomRule(r, i))
	}
	f := must(t, m.otherwise, m.rules...)
	now := monday.Add(time.Duration(r.IntN(3*24*60)) * time.Minute)
	for range questions {
		now = now.Add(time.Duration(r.IntN(300)) * time.Second)
		q := firewall.Question{Identity: pick(r, "mqtt/a", "mqtt/axb", "cookie/1", "local", "mqtt/b/c"), Unit: pick(r, "field/a", "field/b", "field/x/a"), Request: randomRequest(r)}
		if q.Unit != "field/x/a" { // two names of one unit
			q.Link, q.Request.Unit = "field/line", 7
		}
		action, rule := m.judge(q, now)
		look := f.Look(q, now)
		if got := f.Judge(q, now); got.Action != action || got.Rule != rule || got != look {
			t.Fatalf("seed %d: rules %+v, otherwise %v\n%+v at %v\nis judged %+v, looks like %+v; the model says %v by %q", seed, m.rules, m.otherwise, q, now, got, look, action, rule)
		}
	}
}

// GATEWAYD_CASES=1000000 makes it a long test.
func TestAgreesWithTheModel(t *testing.T) {
	cases := 4000
	if n, err := strconv.Atoi(os.Getenv("GATEWAYD_CASES")); err == nil {
		cases = n
	}
	for seed := range cases / 20 {
		compare(t, uint64(seed), 20)
	}
}

func FuzzAgreesWithTheModel(f *testing.F) {
	f.Add(uint64(1), uint8(50))
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) { compare(t, seed, int(n)) })
}

func BenchmarkJudge(b *testing.B) {
	f := must(b, firewall.Deny,
		firewall.Rule{Name: "a", Identities: []string{"nats/*"}}, firewall.Rule{Name: "b", Units: []string{"field/x/**"}},
		firewall.Rule{Name: "c", Identities: []string{"cookie/*"}, Addresses: []string{"0-99"}, Values: []string{"0-1000"}})
	q := firewall.Question{Identity: "cookie/controller", Unit: "field/a/b", Request: write(0, 1, 2, 3)}
	now := time.Now()
	for b.Loop() {
		if f.Judge(q, now).Action != firewall.Allow {
			b.Fatal("denied")
		}
	}
}
