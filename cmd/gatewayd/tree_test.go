package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

func TestTreeIsDrawn(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	health := func(kind, state, cause string, ago time.Duration) *actorv1.Health {
		return &actorv1.Health{Kind: kind, State: state, Cause: cause, Life: 2, Since: timestamppb.New(now.Add(-ago))}
	}
	all := []standing{
		{"root", health("group", "degraded", "field", 90*time.Second)},
		{"bus", health("bus", "ok", "", 25*time.Hour)},
		{"field", health("group", "degraded", "meter-2", time.Second)},
		{"field/line", health("serial-line", "ok", "", 2*time.Hour)},
		{"field/meter-2", health("modbus-unit", "degraded", "timeout", 0)},
		{"mqtt", health("mqtt-broker", "failed", "panic: no", 59*time.Minute)},
	}
	var out bytes.Buffer
	if err := printTree(&out, "plant", all, &gatewayv1.Boot{SafeMode: true, Who: "uplink", Why: "it died"}, now); err != nil {
		t.Fatal(err)
	}
	want := `NAME           KIND         HEALTH      SINCE   LIFE  CAUSE
plant          group        ◐ degraded  1m30s   2     field
├─ bus         bus          ● ok        1d01h   2
├─ field       group        ◐ degraded  1s      2     meter-2
│  ├─ line     serial-line  ● ok        2h00m   2
│  └─ meter-2  modbus-unit  ◐ degraded  0s      2     timeout
└─ mqtt        mqtt-broker  ✗ failed    59m00s  2     panic: no
safe mode: the gateway kept failing, so its groups stay stopped (uplink: it died)
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPartOfTreeIsDrawn(t *testing.T) {
	got := branches([]string{"field/a", "field/a/b", "field/a/b/c", "field/a/d"}, "plant")
	want := []string{"field/a", "├─ b", "│  └─ c", "└─ d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOrderOfTree(t *testing.T) {
	want := []string{"root", "bus", "config", "drill", "a", "a/m-2", "a/m-2/x", "a/m-10", "b", "bus-2"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, comparePaths)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var path = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.StringMatching(`[ab]?[0-9]{1,3}-?|bus|root`), 1, 4).Draw(t, "tokens"), "/")
})

// The order is one: whatever is compared, and a group always stands right
// before what is in it.
func TestOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := path.Draw(t, "a"), path.Draw(t, "b"), path.Draw(t, "c")
		if comparePaths(a, b) != -comparePaths(b, a) {
			t.Fatalf("%s and %s: %d and %d", a, b, comparePaths(a, b), comparePaths(b, a))
		}
		if comparePaths(a, b) <= 0 && comparePaths(b, c) <= 0 && comparePaths(a, c) > 0 {
			t.Fatalf("%s <= %s <= %s, but not the ends", a, b, c)
		}
		if comparePaths(a, a+"/"+b) >= 0 {
			t.Fatalf("%s is not before what is in it", a)
		}
	})
}

func TestFlat(t *testing.T) {
	for in, want := range map[string]string{
		`"a\u001b[31mb"`: "a [31mb", `[1,2]`: "1, 2", `["a","b"]`: "a, b", `{"x":1}`: `{"x":1}`, `null`: "", `1.5`: "1.5", `[]`: "",
	} {
		if got := flat([]byte(in)); got != want {
			t.Errorf("flat(%s) = %q, want %q", in, got, want)
		}
	}
}

func TestAnswerIsATable(t *testing.T) {
	var out bytes.Buffer
	err := printAnswer(&out, []byte(`{"version":"3","changes":[{"path":"a/b","action":"start"},{"path":"c"}],"toml":"a = 1\nb = 2\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := "FIELD    VALUE\nversion  3\nchanges:\nPATH  ACTION\na/b   start\nc\ntoml:\na = 1\nb = 2\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"a":[{"b":1}],"c":"d"}`))
	f.Add([]byte(`{"a":`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var out bytes.Buffer
		if err := printAnswer(&out, text); err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(out.Bytes(), '\x1b') {
			t.Fatalf("an escape sequence gets to the terminal: %q", out.String())
		}
	})
}
