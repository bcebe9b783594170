package firewall_test

import (
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/firewall"
)

// monday is a Monday, 12:00.
var monday = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func read(first, n uint16) modbus.Request {
	return modbus.Request{Function: modbus.ReadHoldingRegisters, Address: first, Quantity: n}
}

func write(first uint16, values ...uint16) modbus.Request {
	var data []byte
	for _, v := range values {
		data = append(data, byte(v>>8), byte(v))
	}
	r := modbus.Request{Function: modbus.WriteMultipleRegisters, Address: first, Quantity: uint16(len(values)), Data: data}
	if len(values) == 1 {
		r.Function = modbus.WriteSingleRegister
	}
	return r
}

func mask(at, and, or uint16) modbus.Request {
	return modbus.Request{Function: modbus.MaskWriteRegister, Address: at, Quantity: 1, Data: []byte{byte(and >> 8), byte(and), byte(or >> 8), byte(or)}}
}

func coils(first uint16, n uint16, packed ...byte) modbus.Request {
	return modbus.Request{Function: modbus.WriteMultipleCoils, Address: first, Quantity: n, Data: packed}
}

func readWrite(first, n, at uint16, values ...uint16) modbus.Request {
	r := write(at, values...)
	r.Function, r.Address, r.Quantity, r.WriteAddress = modbus.ReadWriteMultipleRegisters, first, n, at
	return r
}

func must(t testing.TB, otherwise firewall.Action, rules ...firewall.Rule) *firewall.Firewall {
	t.Helper()
	f, err := firewall.New(rules, otherwise)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The example in DESIGN.md: the rules, the requests and the verdicts.
func TestTheExample(t *testing.T) {
	f := must(t, firewall.Deny,
		firewall.Rule{Name: "locked", Action: firewall.Deny, Functions: []string{"write"}, Addresses: []string{"0-9"}},
		firewall.Rule{Name: "monitor", Action: firewall.Allow, Functions: []string{"read"}},
		firewall.Rule{Name: "setpoint", Action: firewall.Verify, Identities: []string{"cookie/boiler"}, Units: []string{"field/*/boiler"},
			Addresses: []string{"100-101"}, Values: []string{"200-800"}, Rate: 2, Per: time.Minute},
		firewall.Rule{Name: "legacy", Action: firewall.Swallow, Identities: []string{"cookie/**"}, Addresses: []string{"900"}},
		firewall.Rule{Name: "service", Action: firewall.Allow, Identities: []string{"nats/operator"}, Times: []string{"mon-fri 06:00-18:00"}},
	)
	const boiler, pump = "field/rs485-1/boiler", "field/rs485-1/pump"
	for _, x := range []struct {
		name, who, unit string
		r               modbus.Request
		at              time.Duration
		want            firewall.Action
		rule            string
	}{
		{"anybody reads", "mqtt/panel", pump, read(0, 100), 0, firewall.Allow, "monitor"},
		{"a setpoint", "cookie/boiler", boiler, write(100, 650), 0, firewall.Verify, "setpoint"},
		{"two setpoints, both in range", "cookie/boiler", boiler, write(100, 650, 200), time.Second, firewall.Verify, "setpoint"},
		{"too often", "cookie/boiler", boiler, write(100, 650), 2 * time.Second, firewall.Deny, "setpoint"},
		{"a minute later", "cookie/boiler", boiler, write(100, 650), time.Minute, firewall.Verify, "setpoint"},
		{"one of two values too high", "cookie/boiler", boiler, write(100, 650, 801), 2 * time.Minute, firewall.Deny, ""},
		{"one register beyond", "cookie/boiler", boiler, write(101, 650, 650), 2 * time.Minute, firewall.Deny, ""},
		{"another unit", "cookie/boiler", pump, write(100, 650), 2 * time.Minute, firewall.Deny, ""},
		{"another caller", "mqtt/panel", boiler, write(100, 650), 2 * time.Minute, firewall.Deny, ""},
		{"an old controller's watchdog", "cookie/old/1", boiler, write(900, 1), 0, firewall.Swallow, "legacy"},
		{"service hours", "nats/operator", boiler, write(900, 1), 0, firewall.Allow, "service"},
		{"after hours", "nats/operator", boiler, write(900, 1), 6 * time.Hour, firewall.Deny, ""},
		{"a locked register", "nats/operator", boiler, write(9, 1), 0, firewall.Deny, "locked"},
		{"the last of three is locked", "nats/operator", boiler, write(8, 1, 1, 1), 0, firewall.Deny, "locked"},
		{"a function without addresses", "nats/operator", boiler, modbus.Diagnose(1, modbus.RestartCommunications, 0, 0), 0, firewall.Allow, "service"},
	} {
		got := f.Judge(firewall.Question{Identity: x.who, Unit: x.unit, Request: x.r}, monday.Add(x.at))
		if got.Action != x.want || got.Rule != x.rule || (got.Action == firewall.Deny) != (got.Why != "") {
			t.Errorf("%s: %v by %q (%s), want %v by %q", x.name, got.Action, got.Rule, got.Why, x.want, x.rule)
		}
	}
}

func TestRulesOfOne(t *testing.T) {
	const A, V, S, D = firewall.Allow, firewall.Verify, firewall.Swallow, firewall.Deny
	for name, x := range map[string]struct {
		rule firewall.Rule
		r    modbus.Request
		want firewall.Action // everything else is denied; for a deny rule everything else is allowed
	}{
		"mask surely within":          {firewall.Rule{Values: []string{"0-15"}}, mask(1, 0x000f, 0), A},
		"mask perhaps outside":        {firewall.Rule{Values: []string{"0-15"}}, mask(1, 0x001f, 0), D},
		"mask that may hit a denial":  {firewall.Rule{Action: D, Values: []string{"16-99"}}, mask(1, 0x001f, 0), D},
		"mask that cannot hit it":     {firewall.Rule{Action: D, Values: []string{"16-99"}}, mask(1, 0x000f, 0), A},
		"coil on":                     {firewall.Rule{Values: []string{"1"}}, coils(0, 3, 0b111), A},
		"one coil off":                {firewall.Rule{Values: []string{"1"}}, coils(0, 3, 0b101), D},
		"single coil on":              {firewall.Rule{Values: []string{"1"}}, modbus.Request{Function: 5, Data: []byte{0xff, 0}}, A},
		"a rule with values is blind": {firewall.Rule{Values: []string{"0-65535"}}, read(0, 1), D},
		"read of 23":                  {firewall.Rule{Functions: []string{"write"}}, readWrite(0, 1, 5, 1), D},
		"all of 23":                   {firewall.Rule{Functions: []string{"23"}}, readWrite(0, 1, 5, 1), A},
		"23 both ways":                {firewall.Rule{Functions: []string{"read", "write"}}, readWrite(0, 1, 5, 1), A},
		"23 is not swallowed":         {firewall.Rule{Action: S}, readWrite(0, 1, 5, 1), D},
		"nor is a diagnosis":          {firewall.Rule{Action: S}, modbus.Diagnose(1, modbus.RestartCommunications, 0, 0), D},
		"a mask is":                   {firewall.Rule{Action: S}, mask(1, 1, 1), S},
		"reads are not swallowed":     {firewall.Rule{Action: S}, read(0, 1), D},
		"writes are":                  {firewall.Rule{Action: S}, write(0, 1), S},
		"function by number":          {firewall.Rule{Functions: []string{"6"}}, write(0, 1), A},
		"another by number":           {firewall.Rule{Functions: []string{"6"}}, write(0, 1, 2), D},
		"last register":               {firewall.Rule{Addresses: []string{"65535"}}, write(65535, 1), A},
		"addresses in pieces":         {firewall.Rule{Addresses: []string{"3-4", "0-2", "5"}}, write(0, 1, 2, 3, 4, 5, 6), A},
		"a hole in the addresses":     {firewall.Rule{Addresses: []string{"0-2", "4-9"}}, write(0, 1, 2, 3, 4, 5, 6), D},
		"no address to match":         {firewall.Rule{Addresses: []string{"0-65535"}}, modbus.Request{Function: 17}, D},
		"data cut short":              {firewall.Rule{Values: []string{"0-9"}}, modbus.Request{Function: 16, Quantity: 2, Data: []byte{0, 1}}, D},
		"verified":                    {firewall.Rule{Action: V}, write(0, 1), V},
	} {
		otherwise := D
		if x.rule.Action == D {
			otherwise = A
		}
		f := must(t, otherwise, x.rule)
		if got := f.Judge(firewall.Question{Request: x.r}, monday); got.Action != x.want {
			t.Errorf("%s: %v (%s), want %v", name, got.Action, got.Why, x.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, x := range []struct {
		window string
		at     string // time in the week from Monday, the 23rd, on
		want   bool
	}{
		{"mon-fri 06:00-18:00", "23 06:00", true},
		{"mon-fri 06:00-18:00", "23 05:59", false},
		{"mon-fri 06:00-18:00", "23 18:00", false},
		{"mon-fri 06:00-18:00", "28 12:00", false},
		{"sat,sun", "28 00:00", true},
		{"sat,sun", "29 23:59", true},
		{"sat,sun", "30 00:00", false},
		{"22:00-06:00", "23 23:00", true},
		{"22:00-06:00", "23 05:59", true},
		{"22:00-06:00", "23 06:00", false},
		{"fri 22:00-06:00", "28 05:00", true},
		{"fri 22:00-06:00", "27 05:00", false},
		{"sat-mon 00:00-24:00", "29 12:00", true},
		{"sat-mon 00:00-24:00", "24 12:00", false},
	} {
		f := must(t, firewall.Deny, firewall.Rule{Times: []string{x.window}})
		at, err := time.Parse("2006-01 02 15:04", "2026-11 "+x.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Judge(firewall.Question{Request: read(0, 1)}, at).Action == firewall.Allow; got != x.want {
			t.Errorf("%s at %s: %v", x.window, x.at, got)
		}
	}
}

// A rate counts per unit, and only allowed requests.
func TestRates(t *testing.T) {
	f := must(t, firewall.Deny,
		firewall.Rule{Name: "not-7", Action: firewall.Deny, Addresses: []string{"7"}},
		firewall.Rule{Name: "slow", Rate: 2, Per: time.Minute},
	)
	ask := func(unit string, r modbus.Request, at int) firewall.Action {
		return f.Judge(firewall.Question{Unit: unit, Request: r}, monday.Add(time.Duration(at)*time.Second)).Action
	}
	for i, x := range []struct {
		unit string
		r    modbus.Request
		at   int
		want firewall.Action
	}{
		{"a", write(1, 1), 0, firewall.Allow},
		{"a", write(6, 1, 1), 0, firewall.Deny}, // does not count
		{"a", write(1, 1), 30, firewall.Allow},
		{"a", write(1, 1), 59, firewall.Deny},
		{"b", write(1, 1), 59, firewall.Allow},
		{"a", write(1, 1), 60, firewall.Allow},
		{"a", write(1, 1), 89, firewall.Deny},
		{"a", write(1, 1), 90, firewall.Allow},
	} {
		if look := f.Look(firewall.Question{Unit: x.unit, Request: x.r}, monday.Add(time.Duration(x.at)*time.Second)); look.Action != x.want {
			t.Errorf("%d: looks like %v, want %v", i, look.Action, x.want)
		}
		if got := ask(x.unit, x.r, x.at); got != x.want {
			t.Errorf("%d: %v, want %v", i, got, x.want)
		}
	}
}

// A unit counts as one, however it is reached: through its actor, or directly through its line or
// link.
func TestRatesCountByPlace(t *testing.T) {
	f := must(t, firewall.Deny, firewall.Rule{Name: "slow", Rate: 2, Per: time.Minute})
	at := func(unit, link string, address uint8) firewall.Question {
		r := write(1, 1)
		r.Unit = address
		return firewall.Question{Unit: unit, Link: link, Request: r}
	}
	for i, x := range []struct {
		q    firewall.Question
		want firewall.Action
	}{
		{at("f/boiler", "f/line", 7), firewall.Allow},
		{at("f/line/7", "f/line", 7), firewall.Allow},
		{at("f/boiler", "f/line", 7), firewall.Deny},
		{at("f/line/7", "f/line", 7), firewall.Deny},
		{at("f/line/8", "f/line", 8), firewall.Allow},
		{at("f/other", "f/link", 7), firewall.Allow},
		{at("f/other", "f/line", 7), firewall.Deny}, // it has moved
	} {
		if got := f.Judge(x.q, monday); got.Action != x.want {
			t.Errorf("%d: %v, want %v", i, got.Action, x.want)
		}
		if asked := (firewall.Question{Unit: "f/boiler", Request: write(1, 1)}); i > 0 && f.Look(asked, monday).Action != firewall.Deny {
			t.Errorf("%d: nobody would say that the boiler's rate is spent", i)
		}
	}
}

func TestCookiesNeedARule(t *testing.T) {
	q := firewall.Question{Identity: "cookie/controller", Request: read(0, 1)}
	if v := must(t, firewall.Allow).Judge(q, monday); v.Action != firewall.Deny {
		t.Error("without a rule:", v)
	}
	if v := must(t, firewall.Allow, firewall.Rule{Identities: []string{"cookie/*"}}).Judge(q, monday); v.Action != firewall.Allow {
		t.Error("with a rule:", v)
	}
	if v := firewall.Open(q.Identity); v.Action != firewall.Deny {
		t.Error("without a firewall:", v)
	}
	if v := firewall.Open("local"); v.Action != firewall.Allow {
		t.Error("local, without a firewall:", v)
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	for want, r := range map[string]firewall.Rule{
		"function": {Functions: []string{"0"}},
		"is not read, write or a number from 1 to 127": {Functions: []string{"128"}},
		"address \"9-1\"":   {Addresses: []string{"9-1"}},
		"value \"65536\"":   {Values: []string{"65536"}},
		"value \"-1\"":      {Values: []string{"-1"}},
		"time \"mon 6-18\"": {Times: []string{"mon 6-18"}},
		"time \"moon\"":     {Times: []string{"moon"}},
		"time \"\"":         {Times: []string{""}},
		"time \"mon 24:00-": {Times: []string{"mon 24:00-06:00"}},
		"rate 1001":         {Rate: 1001, Per: time.Second},
		"rate 1 in 0s":      {Rate: 1},
		"no meaning":        {Rate: 1, Per: time.Second, Action: firewall.Deny},
	} {
		r.Name = "x"
		if _, err := firewall.New([]firewall.Rule{r}, firewall.Deny); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "rule x: ") {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
