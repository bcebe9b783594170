package bus_test

import (
	"strings"
	"testing"

	"gatewayd/bus"

	"pgregory.net/rapid"
)

func TestSubject(t *testing.T) {
	for _, tc := range []struct {
		a       bus.Address
		subject string
		topic   string
	}{
		{bus.Address{Gateway: "demo", Class: bus.Data, Path: "field/rs485-1/meter-7", Leaf: "registers"}, "gw.demo.data.field.rs485-1.meter-7.registers", "data/field/rs485-1/meter-7/registers"},
		{bus.Address{Gateway: "demo", Class: bus.Cmd, Path: "radio/wlan0", Leaf: "SetMode"}, "gw.demo.cmd.radio.wlan0.SetMode", "cmd/radio/wlan0/SetMode"},
		{bus.Address{Gateway: "g", Class: bus.Event, Leaf: "healed"}, "gw.g.event.healed", "event/healed"},
	} {
		if got := tc.a.String(); got != tc.subject {
			t.Error(got)
		}
		if got, err := bus.ParseSubject(tc.subject); err != nil || got != tc.a {
			t.Error(got, err)
		}
		if got, ok := bus.Topic(tc.subject); !ok || got != tc.topic {
			t.Error(got, ok)
		}
		if got, err := bus.FromTopic(tc.a.Gateway, tc.topic); err != nil || got != tc.subject {
			t.Error(got, err)
		}
	}
	for _, bad := range []string{"", "gw", "gw.demo.data", "gw.demo.state", "gw.demo.what.a.b", "gw.De.data.a.b", "gw.demo.data.A.b", "gw.demo.data..b", "gw.demo.data.a.b c", "gw.demo.data.*.b", "gw.demo.data.>", "x.demo.data.a.b"} {
		if a, err := bus.ParseSubject(bad); err == nil {
			t.Errorf("%q is %+v", bad, a)
		}
	}
}

func TestPattern(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"data/field/>", "gw.demo.data.field.>"},
		{"data/+/x", "gw.demo.data.*.x"},
		{"#", "gw.demo.>"},
		{">", "gw.demo.>"},
		{"+/radio/#", "gw.demo.*.radio.>"},
		{"cmd/a/SetMode", "gw.demo.cmd.a.SetMode"},
	} {
		got, err := bus.Pattern("demo", tc.in)
		if err != nil || got != tc.want {
			t.Error(tc.in, got, err)
		}
	}
	for _, bad := range []string{"", "/", "data/", "data//x", "#/data", "data/#/x", "data/a.b", "data/a*", "data/a>", "data/a b", "$SYS/#", "other/x", "data/\x00", "data/ü"} {
		if got, err := bus.Pattern("demo", bad); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
	if _, err := bus.FromTopic("demo", "data/+/x"); err == nil {
		t.Error("a topic with a wildcard")
	}
	if _, err := bus.Pattern("a.b", "data/x"); err == nil {
		t.Error("a gateway with a dot")
	}
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, subject string
		want             bool
	}{
		{"gw.>", "gw.demo.data.x", true},
		{"gw.>", "gw", false},
		{"gw.*.data.>", "gw.demo.data.a.b", true},
		{"gw.*.data.>", "gw.demo.data", false},
		{"gw.*.data.*", "gw.demo.data.a.b", false},
		{"gw.demo", "gw.demo", true},
		{"gw.demo", "gw.demo.x", false},
		{"gw.demo.x", "gw.demo", false},
		{"*", "gw", true},
	} {
		if got := bus.Match(tc.pattern, tc.subject); got != tc.want {
			t.Error(tc.pattern, tc.subject, got)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, good := range []string{"a", "field/rs485-1/meter-7", "0", "-", strings.Repeat("a", 63)} {
		if err := bus.CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for bad, say := range map[string]string{
		"":                              "empty",
		"/a":                            "empty token",
		"a/":                            "empty token",
		"a//b":                          "empty token",
		"field/Meter_7":                 `try "meter-7"`,
		"a.b":                           `try "a-b"`,
		"a b":                           `' '`,
		"a/*":                           `'*'`,
		"a/>":                           `'>'`,
		"a/ä":                           `'ä'`,
		"a/\xff":                        "not allowed",
		strings.Repeat("a", 64):         "at most 63",
		strings.Repeat("a/", 200) + "a": "at most 255",
	} {
		if err := bus.CheckName(bad); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// An accepted name makes a subject that cannot be misread.
func FuzzSubject(f *testing.F) {
	f.Add("demo", "field/rs485-1/meter-7", "registers")
	f.Add("demo", "a.b", "x")
	f.Add("demo", "a/*", ">")
	f.Add("g w", "a\r\nPUB x", "SetMode")
	f.Fuzz(func(t *testing.T, gateway, path, leaf string) {
		if bus.CheckGateway(gateway) != nil || bus.CheckName(path) != nil || bus.CheckLeaf(leaf) != nil {
			if a, err := bus.ParseSubject(bus.Subject(gateway, bus.Data, path, leaf)); err == nil && a == (bus.Address{Gateway: gateway, Class: bus.Data, Path: path, Leaf: leaf}) && path != "" {
				t.Fatalf("%+v was refused and yet parsed", a)
			}
			return
		}
		s := bus.Subject(gateway, bus.Data, path, leaf)
		if strings.ContainsAny(s, "*> \t\r\n\x00/+#") || strings.Contains(s, "..") {
			t.Fatal(s)
		}
		if n := strings.Count(s, "."); n != 4+strings.Count(path, "/") {
			t.Fatal(s, n)
		}
		want := bus.Address{Gateway: gateway, Class: bus.Data, Path: path, Leaf: leaf}
		if a, err := bus.ParseSubject(s); err != nil || a != want {
			t.Fatal(a, err)
		}
	})
}

// Whatever a client sends as a topic or filter stays within this gateway and its classes.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"data/field/x", "#", "+/+/#", "data/a.b", "$SYS/x", "cmd/a/>", "data/ \r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if subject, err := bus.FromTopic("demo", s); err == nil {
			if !strings.HasPrefix(subject, "gw.demo.") || strings.ContainsAny(subject, "*> \t\r\n\x00/+#$") {
				t.Fatal(subject)
			}
			if back, ok := bus.Topic(subject); !ok || back != s {
				t.Fatal(back)
			}
		}
		if p, err := bus.Pattern("demo", s); err == nil {
			if !strings.HasPrefix(p, "gw.demo.") || strings.ContainsAny(p, " \t\r\n\x00/+#$") || strings.Contains(strings.TrimSuffix(p, ">"), ">") {
				t.Fatal(p)
			}
		}
	})
}

func TestMatchAgreesWithSubjects(t *testing.T) {
	token := rapid.StringMatching(`[a-z0-9-]{1,4}`)
	rapid.Check(t, func(t *rapid.T) {
		path := strings.Join(rapid.SliceOfN(token, 1, 5).Draw(t, "path"), "/")
		s := bus.Subject("demo", bus.Data, path, "x")
		tok := strings.Split(s, ".")
		for i := range tok {
			if rapid.Bool().Draw(t, "star") {
				tok[i] = "*"
			}
		}
		if cut := rapid.IntRange(1, len(tok)).Draw(t, "cut"); cut < len(tok) {
			tok = append(tok[:cut], ">")
		}
		if p := strings.Join(tok, "."); !bus.Match(p, s) {
			t.Fatal(p, s)
		}
	})
}
