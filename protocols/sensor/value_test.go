package sensor

import (
	"math"
	"strings"
	"testing"
	"time"
)

func ptr[T any](v T) *T { return &v }

func TestWhatAPointMakesOfAPayload(t *testing.T) {
	var (
		number  = Point{Type: Number}
		integer = Point{Type: Integer}
		flag    = Point{Type: Flag}
		text    = Point{Type: Text}
		at      = func(p Point, path string) Point {
			var err error
			if p.Path, err = ParsePath(path); err != nil {
				t.Fatal(err)
			}
			return p
		}
	)
	scaled := Point{Type: Number, Scale: 0.1, Offset: -5, Decimals: ptr(1)}
	limited := Point{Type: Number, Min: ptr(-40.0), Max: ptr(125.0)}
	named := Point{Type: Number, Labels: []Label{{0, "closed"}, {1, "open"}}}
	words := Point{Type: Flag, On: []string{"LOCKED"}, Off: []string{"UNLOCKED", "NOT_FULLY_LOCKED"}}
	absent := Point{Type: Number, Absent: []Sentinel{{"-127", "no sensor"}, {"unavailable", ""}}}
	for name, x := range map[string]struct {
		point   Point
		payload string
		want    string // value, or value "label", or ! and a part of the error; empty: not there
	}{
		"raw":                     {number, "21.5", "21.5"},
		"raw with blanks":         {number, " 21.5\r\n", "21.5"},
		"raw negative":            {number, "-0.25", "-0.25"},
		"raw exponent":            {number, "1.5e3", "1500"},
		"raw text":                {number, "21.5 °C", `!"21.5 °C" is not a number`},
		"raw nan":                 {number, "NaN", `!"NaN" is not a number`},
		"raw nan, small":          {number, "nan", `!is not a number`},
		"raw infinity":            {number, "-inf", `!is not a number`},
		"raw hexadecimal":         {number, "0x1p4", `!is not a number`},
		"raw underscore":          {number, "1_000", `!is not a number`},
		"raw comma":               {number, "21,5", `!is not a number`},
		"raw too large":           {number, "1e999", `!is too large`},
		"raw no number":           {number, "--", `!is not a number`},
		"not UTF-8":               {number, "\xff\xfe", `!not UTF-8`},
		"not UTF-8 text":          {text, "caf\xe9", `!not UTF-8`},
		"not UTF-8 JSON":          {at(text, "a"), "{\"a\":\"caf\xe9\"}", `!not UTF-8`},
		"JSON":                    {at(number, "a.b"), `{"a":{"b":21.5}}`, "21.5"},
		"JSON text":               {at(number, "a"), `{"a":"21.5"}`, "21.5"},
		"JSON array":              {at(number, "a[1].b"), `{"a":[{"b":1},{"b":2}]}`, "2"},
		"JSON key with a dot":     {at(number, `"a.b"`), `{"a.b":2}`, "2"},
		"JSON key with a colon":   {at(number, `switch:0.apower`), `{"switch:0":{"apower":2}}`, "2"},
		"JSON not there":          {at(number, "a.c"), `{"a":{"b":21.5}}`, ""},
		"JSON index not there":    {at(number, "a[7]"), `{"a":[1]}`, ""},
		"JSON through a scalar":   {at(number, "a.b"), `{"a":1}`, ""},
		"JSON null":               {at(number, "a"), `{"a":null}`, `!reports no value`},
		"JSON flag for a number":  {at(number, "a"), `{"a":true}`, `!"true" is not a number`},
		"JSON object for a value": {at(number, "a"), `{"a":{}}`, `!object or array`},
		"JSON too large":          {at(number, "a"), `{"a":1e400}`, `!too large`},
		"JSON NaN":                {at(number, "a"), `{"a":NaN}`, `!not JSON`},
		"JSON cut":                {at(number, "a"), `{"a":1`, `!not JSON`},
		"JSON and more":           {at(number, "a"), `{"a":1}{"a":2}`, `!text after the end`},
		"JSON twice":              {at(number, "a"), `{"a":1,"a":2}`, "2"},
		"JSON too deep":           {at(number, "a"), strings.Repeat("[", 20000), `!not JSON`},
		"plain for JSON":          {at(number, "a"), "offline", `!not JSON`},
		"scale":                   {scaled, "1234", "118.4"},
		"within limits":           {limited, "125", "125"},
		"beyond":                  {limited, "125.1", "!125.1 is more than 125"},
		"below":                   {limited, "-41", "!-41 is less than -40"},
		"integer":                 {integer, "18446744073709551615", "18446744073709551615"},
		"negative integer":        {integer, "-9223372036854775808", "-9223372036854775808"},
		"integer as JSON":         {at(integer, "a"), `{"a":9007199254740993}`, "9007199254740993"},
		"integer with a point":    {integer, "12.0", "12"},
		"no integer":              {integer, "12.5", "!not a 64-bit integer"},
		"integer beyond 64 bits":  {integer, "18446744073709551616", "!not a 64-bit integer"},
		"label by text":           {named, "OPEN", `1 "open"`},
		"label by number":         {named, "0", `0 "closed"`},
		"number without a label":  {named, "7", "7"},
		"text without a number":   {named, "ajar", `!"ajar" is not one of closed, open`},
		"flag":                    {flag, "ON", "true"},
		"flag JSON":               {at(flag, "a"), `{"a":false}`, "false"},
		"flag number":             {at(flag, "a"), `{"a":1}`, "true"},
		"flag unknown":            {flag, "maybe", `!neither on nor off`},
		"flag by words":           {words, "not_fully_locked", "false"},
		"flag by words only":      {words, "on", "!neither"},
		"flag words for a bool":   {Point{Type: Flag, On: []string{"false"}, Off: []string{"true"}}, "false", "true"},
		"text":                    {text, "hello", `"hello"`},
		"text of a number":        {at(text, "a"), `{"a":1.50}`, `"1.50"`},
		"absent":                  {absent, "-127", "!no sensor"},
		"absent word":             {absent, "Unavailable", "!reports no value"},
		"huge":                    {number, strings.Repeat("1", 200), "!at most 100 are allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			most := 100
			if name == "JSON too deep" {
				most = 1 << 20
			}
			v, label, there, err := x.point.read(&document{payload: []byte(x.payload), most: most})
			got := ""
			switch {
			case err != nil:
				got = "!" + err.Error()
			case there:
				got = v.String()
			}
			if label != "" {
				got += ` "` + label + `"`
			}
			want, bad := strings.CutPrefix(x.want, "!")
			if bad && (err == nil || !strings.Contains(got, want)) || !bad && got != want {
				t.Errorf("%s, want %s", got, x.want)
			}
		})
	}
}

func TestPathsThatAreNone(t *testing.T) {
	for _, text := range []string{".a", "a..b", "a.", "a[", "a[x]", "a[-1]", "a[70000]", `"a`, "a]b[", `a"b"`, `"a"b`} {
		if p, err := ParsePath(text); err == nil && p.String() != text {
			t.Errorf("%q is read as %q", text, p)
		}
	}
	for _, text := range []string{"", "a", "a.b", "a[0].b", "[3]", "[3][4].x", `"a.b".c`, `"".x`, "switch:0.apower", "ä.ö"} {
		p, err := ParsePath(text)
		if err != nil || p.String() != text {
			t.Errorf("%q: %q, %v", text, p, err)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, text := range []string{"a.b[3].c", `"a.b".c`, "[0]", "a..b", `"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePath(text)
		if err != nil {
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q: %q, then %q, %v", text, p, again, err)
		}
	})
}

// Whatever the payload, published values are finite, and nothing panics.
func FuzzPayload(f *testing.F) {
	for _, text := range []string{`{"a":1}`, `{"a":{"b":[1,2]}}`, "21.5", "ON", `{"a":"NaN"}`, "\xff", "1e400", "[[[["} {
		f.Add([]byte(text), "a.b[0]", true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, path string, retained bool) {
		p, err := ParsePath(path)
		if err != nil {
			return
		}
		d := NewDevice(Spec{Points: []Point{
			{Name: "n", Topic: "t", Path: p, Type: Number, Scale: 1e300}, {Name: "i", Topic: "t", Path: p, Type: Integer},
			{Name: "f", Topic: "t", Path: p, Type: Flag}, {Name: "x", Topic: "t", Path: p, Type: Text},
		}, Availability: []Availability{{Topic: "t", Path: p}}, Time: p, MaxPayload: 1000}, time.Unix(0, 0))
		now := time.Unix(1e9, 0)
		for _, i := range d.Receive(Message{"t", payload, retained}, now) {
			s := d.Sample(i, now)
			if n, _ := s.Value.number(); math.IsNaN(n) || math.IsInf(n, 0) {
				t.Errorf("%q: %v", payload, s)
			}
			if s.Quality == "" && s.Value.Kind == None {
				t.Errorf("%q: good without a value", payload)
			}
		}
		holdsPaths(payload, []string{path})
	})
}

func TestWhatACommandSends(t *testing.T) {
	relay := Command{Name: "relay", Payload: Placeholder, Type: Flag, On: "ON", Off: "OFF"}
	wrapped := Command{Name: "state", Payload: `{"state":"{value}","id":1}`, Type: Text}
	level := Command{Name: "level", Payload: `{"brightness":{value}}`, Type: Number, Min: ptr(0.0), Max: ptr(254.0)}
	mode := Command{Name: "mode", Payload: Placeholder, Type: Text, Values: []string{"eco", "comfort"}}
	for _, x := range []struct {
		c    Command
		v    Value
		want string
	}{
		{relay, Value{Kind: Flag, Flag: true}, "ON"},
		{relay, Value{Kind: Flag}, "OFF"},
		{relay, Value{Kind: Number, Number: 1}, "!relay: want a flag"},
		{relay, Value{}, "!want a flag"},
		{wrapped, Value{Kind: Text, Text: `a"},{"b":"<&>` + "\n"}, `{"state":"a\"},{\"b\":\"<&>\n","id":1}`},
		{wrapped, Value{Kind: Text, Text: "\xff"}, "!not UTF-8"},
		{wrapped, Value{Kind: Text, Text: strings.Repeat("x", 1025)}, "!at most 1024"},
		{level, Value{Kind: Number, Number: 127.5}, `{"brightness":127.5}`},
		{level, Value{Kind: Number, Number: 255}, "!255 is more than 254"},
		{level, Value{Kind: Number, Number: -1}, "!less than 0"},
		{level, Value{Kind: Number, Number: math.NaN()}, "!NaN is not a number"},
		{mode, Value{Kind: Text, Text: "eco"}, "eco"},
		{mode, Value{Kind: Text, Text: "party"}, `!"party" is not one of eco, comfort`},
	} {
		p, err := x.c.Render(x.v)
		got := string(p)
		if err != nil {
			got = "!" + err.Error()
		}
		if want, bad := strings.CutPrefix(x.want, "!"); bad && (err == nil || !strings.Contains(got, want)) || !bad && got != want {
			t.Errorf("%s of %v: %s, want %s", x.c.Name, x.v, got, x.want)
		}
	}
}
