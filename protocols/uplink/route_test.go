package uplink_test

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

func meter(fields ...record.Field) record.Record {
	return record.Record{Track: "tracks/energy/meter-1", Number: 3, Sequence: 42, Fields: fields}
}

func field(name string, v record.Value) record.Field {
	return record.Field{Name: name, ID: 1, Value: v}
}

func digits(n int) *int { return &n }

func TestRoute(t *testing.T) {
	all := meter(field("power", 1234.5678), field("energy", uint64(1<<60)), field("count", int64(1267)), field("user", "Ann"), field("on", true),
		field("raw", []byte{1}), field("never", nil))
	for name, tt := range map[string]struct {
		rules  []uplink.Rule
		strain uplink.Strain
		want   string // fields as name=value; "-": the record is not sent
	}{
		"no rules":                   {nil, uplink.Free, "power=1234.5678 energy=1152921504606846976 count=1267 user=Ann on=true raw=[1] never=<nil>"},
		"one field":                  {[]uplink.Rule{{Fields: []string{"power"}}}, uplink.Free, "power=1234.5678"},
		"of a track":                 {[]uplink.Rule{{Tracks: []string{"tracks/+/meter-1"}, Fields: []string{"o*"}}}, uplink.Free, "on=true"},
		"of another":                 {[]uplink.Rule{{Tracks: []string{"tracks/+"}}}, uplink.Free, "-"},
		"the first decides":          {[]uplink.Rule{{Fields: []string{"power"}, Redact: uplink.Drop}, {Tracks: []string{"tracks/#"}, Fields: []string{"p*", "o*"}}}, uplink.Free, "on=true"},
		"scaled":                     {[]uplink.Rule{{Fields: []string{"power"}, Scale: 0.001, Precision: digits(2), Unit: "kW"}}, uplink.Free, "power=1.23[kW]"},
		"an offset":                  {[]uplink.Rule{{Fields: []string{"count"}, Offset: -1000}}, uplink.Free, "count=267"},
		"tens":                       {[]uplink.Rule{{Fields: []string{"count", "power"}, Precision: digits(-1)}}, uplink.Free, "power=1230 count=1270"},
		"whole stays whole":          {[]uplink.Rule{{Fields: []string{"energy"}, Precision: digits(1)}}, uplink.Free, "energy=1152921504606846976"},
		"renamed":                    {[]uplink.Rule{{Fields: []string{"power"}, Rename: "P"}, {Rename: "x_*", Fields: []string{"count", "on"}}}, uplink.Free, "P=1234.5678 x_count=1267 x_on=true"},
		"two of one name":            {[]uplink.Rule{{Fields: []string{"power"}, Rename: "a"}, {Fields: []string{"on"}, Rename: "a"}}, uplink.Free, "a=1234.5678"},
		"masked":                     {[]uplink.Rule{{Fields: []string{"user", "power", "raw"}, Redact: uplink.Mask}}, uplink.Free, "power=<nil> user=*** raw=***"},
		"low on a fast link":         {[]uplink.Rule{{Fields: []string{"on"}, Low: true}, {Fields: []string{"count"}}}, uplink.Free, "count=1267 on=true"},
		"low on a slow link":         {[]uplink.Rule{{Fields: []string{"on"}, Low: true}, {Fields: []string{"count"}}}, uplink.Slow, "count=1267"},
		"nothing but low":            {[]uplink.Rule{{Low: true}}, uplink.Slow, "-"},
		"high on a link that crawls": {[]uplink.Rule{{Fields: []string{"on"}, High: true}, {Fields: []string{"count"}}}, uplink.Crawl, "on=true"},
		"nothing high":               {[]uplink.Rule{{}}, uplink.Crawl, "-"},
		"coarse on a slow link":      {[]uplink.Rule{{Fields: []string{"power"}, Precision: digits(2), SlowPrecision: digits(0)}}, uplink.Slow, "power=1235"},
		"coarser anyway":             {[]uplink.Rule{{Fields: []string{"power"}, Precision: digits(-2), SlowPrecision: digits(0)}}, uplink.Slow, "power=1200"},
		"fine on a fast link":        {[]uplink.Rule{{Fields: []string{"power"}, SlowPrecision: digits(0)}}, uplink.Free, "power=1234.5678"},
		"only what is dropped":       {[]uplink.Rule{{Redact: uplink.Drop}}, uplink.Free, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := uplink.NewTable(tt.rules, "salt")
			if err != nil {
				t.Fatal(err)
			}
			r, ok := table.Route(all, tt.strain)
			got := "-"
			if ok {
				got = told(r)
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if r.Sequence != 42 || r.Number != 3 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func told(r record.Record) string {
	var all []string
	for _, f := range r.Fields {
		one := fmt.Sprintf("%s=%v", f.Name, f.Value)
		if f.Unit != "" {
			one += "[" + f.Unit + "]"
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}

func TestHashesCompareWithinOneUplinkOnly(t *testing.T) {
	hash := func(salt string, v record.Value) string {
		table, err := uplink.NewTable([]uplink.Rule{{Redact: uplink.Hash}}, salt)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := table.Route(meter(field("user", v)), uplink.Free)
		return told(r)
	}
	if a := hash("a", "Ann"); a != hash("a", "Ann") || a == hash("b", "Ann") || a == hash("a", "Bob") || !regexp.MustCompile(`^user=[0-9a-f]{12}$`).MatchString(a) {
		t.Error(a)
	}
}

func TestAbsenceIsRoutedLikeItsTrack(t *testing.T) {
	absent := record.Record{Track: "tracks/a", Absent: true}
	for tracks, want := range map[string]bool{"tracks/a": true, "tracks/b": false} {
		table, err := uplink.NewTable([]uplink.Rule{{Tracks: []string{tracks}, Fields: []string{"x"}}}, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := table.Route(absent, uplink.Free); ok != want {
			t.Errorf("%s: %v", tracks, ok)
		}
	}
}

func TestTableRefuses(t *testing.T) {
	for says, r := range map[string]uplink.Rule{
		"not a valid filter":       {Tracks: []string{"a/#/b"}},
		`"" is not a valid filter`: {Tracks: []string{""}},
		"a name is empty":          {Fields: []string{""}},
		"several fields":           {Fields: []string{"a*"}, Rename: "b"},
		"drop, mask, hash":         {Redact: "burn"},
		"finite":                   {Scale: math.NaN()},
	} {
		if _, err := uplink.NewTable([]uplink.Rule{{}, r}, ""); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "rule 2") {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

var names = rapid.StringMatching(`[ab]{1,3}(/[ab]{1,2}){0,2}`)

// Filters match the same as equivalent regular expressions; the result is the record as changed by
// the rules; the original record is not modified.
func TestTableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		filters := rapid.SliceOfN(rapid.StringMatching(`([ab]{1,2}|\+)(/([ab]{1,2}|\+)){0,2}(/#)?`), 0, 2).Draw(t, "tracks")
		globs := rapid.SliceOfN(rapid.StringMatching(`[ab*]{1,4}`), 0, 2).Draw(t, "fields")
		r := record.Record{Track: names.Draw(t, "track"), Sequence: rapid.Uint64().Draw(t, "sequence")}
		for i, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[ab]{1,5}`), 1, 6, rapid.ID[string]).Draw(t, "names") {
			r.Fields = append(r.Fields, record.Field{Name: name, ID: uint32(i), Value: rapid.Float64().Draw(t, "value")})
		}
		table, err := uplink.NewTable([]uplink.Rule{{Tracks: filters, Fields: globs}}, "")
		if err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprint(r)
		for range 2 { // the second time from the cache
			got, ok := table.Route(r, uplink.Free)
			var want []record.Field
			for _, f := range r.Fields {
				if anyOf(filters, r.Track, filterExpr) && anyOf(globs, f.Name, globExpr) {
					want = append(want, f)
				}
			}
			if ok != (len(want) > 0) || ok && !reflect.DeepEqual(got.Fields, want) {
				t.Fatalf("%v of %v: %v, want %v", globs, r, got.Fields, want)
			}
		}
		if after := fmt.Sprint(r); after != before {
			t.Fatalf("%s has become %s", before, after)
		}
	})
}

func anyOf(patterns []string, name string, expr func(string) string) bool {
	for _, p := range patterns {
		if regexp.MustCompile("^(" + expr(p) + ")$").MatchString(name) {
			return true
		}
	}
	return len(patterns) == 0
}

func filterExpr(f string) string { return strings.NewReplacer("+", "[^/]+", "#", ".+").Replace(f) }
func globExpr(g string) string   { return strings.ReplaceAll(g, "*", ".*") }
