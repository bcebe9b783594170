package sensor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// plug is a device with a relay that is published on change only, and a temperature.
func plug() Spec {
	return Spec{
		Points: []Point{
			{Name: "temperature", Topic: "p/sensor", Path: Path{{"t", -1}}, Type: Number, Silence: time.Minute},
			{Name: "relay", Topic: "p/relay", Type: Flag},
			{Name: "humidity", Topic: "p/sensor", Path: Path{{"h", -1}}, Type: Number, Silence: time.Minute, Optional: true},
		},
		Availability: []Availability{{Topic: "p/lwt"}},
		Commands:     []Command{{Name: "relay", Type: Flag, Confirm: 1}},
		Silence:      10 * time.Minute, MaxPayload: 1000,
	}
}

// play feeds a device a sequence of steps, one per line: "<seconds> <topic> <payload>", with !
// before the topic of retained messages; "<seconds>" for the passing of time; or "<seconds> lose
// <why>". It returns what is published and the health after each.
func play(spec Spec, steps ...string) (lines []string) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	d := NewDevice(spec, began)
	for _, step := range steps {
		seconds, rest, message := strings.Cut(step, " ")
		s, _ := time.ParseDuration(seconds + "s")
		now := began.Add(s)
		var list []int
		topic, payload, _ := strings.Cut(rest, " ")
		topic, retained := strings.CutPrefix(topic, "!")
		switch {
		case !message:
			list = d.Tick(now)
		case topic == "lose":
			list = d.ConnectionLost(payload, now)
		default:
			list = d.Receive(Message{topic, []byte(payload), retained}, now)
		}
		var parts []string
		for _, i := range list {
			s := d.Sample(i, now)
			part := spec.Points[i].Name + "=" + s.Value.String()
			if s.Quality != "" {
				part += " " + s.Quality + ": " + s.Cause
			}
			parts = append(parts, part)
		}
		health, why := d.Health(now)
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s | %s %s", strings.Join(parts, "; "), []string{"ok", "degraded", "unreachable"}[health], why)))
	}
	return lines
}

func TestWhatADeviceIs(t *testing.T) {
	for name, story := range map[string][]string{ // steps and their results, in turns
		"it speaks": {
			"1 p/sensor {\"t\":21}", "temperature=21 | ok",
			"2 p/relay ON", "relay=true | ok",
			"3 p/relay OFF", "relay=false | ok",
			"4 p/other 1", "| ok",
			"5 p/sensor {\"t\":21,\"h\":40}", "temperature=21; humidity=40 | ok",
		},
		"nothing was heard": {
			"1", "| unreachable no message yet",
			"60", "temperature=nothing stale: no message with this point for 1m0s | unreachable no message yet",
			"600", "temperature=nothing stale: silent for 10m0s; relay=nothing stale: silent for 10m0s | unreachable no message for 10m0s",
		},
		"it grows old": {
			"1 p/sensor {\"t\":21}", "temperature=21 | ok",
			"2 p/relay ON", "relay=true | ok",
			"60", "| ok",
			"61", "temperature=21 stale: no message with this point for 1m0s | degraded temperature: no message with this point for 1m0s",
			"602", "temperature=21 stale: silent for 10m0s; relay=true stale: silent for 10m0s | unreachable silent since 12:00:02",
			"603 p/relay ON", "temperature=21 stale: no message with this point for 1m0s; relay=true | degraded temperature: no message with this point for 1m0s",
			"604 p/sensor {\"t\":22}", "temperature=22 | ok",
		},
		"its will": {
			"1 p/sensor {\"t\":21}", "temperature=21 | ok",
			"2 p/lwt offline", "temperature=21 stale: offline since 12:00:02: p/lwt says \"offline\"; relay=nothing stale: offline since 12:00:02: p/lwt says \"offline\" | unreachable offline since 12:00:02: p/lwt says \"offline\"",
			"3 p/lwt offline", "| unreachable offline since 12:00:02: p/lwt says \"offline\"",
			"4 p/lwt what", "| unreachable offline since 12:00:02: p/lwt says \"offline\"",
			"5 p/lwt online", "temperature=21; relay=nothing stale: not received yet | ok",
		},
		"it is offline when we come": {
			"1 !p/lwt offline", "temperature=nothing stale: offline: p/lwt says \"offline\"; relay=nothing stale: offline: p/lwt says \"offline\" | unreachable offline: p/lwt says \"offline\"",
			"2 p/sensor {\"t\":21}", "temperature=21; relay=nothing stale: not received yet | ok",
		},
		"what is retained": {
			"1 !p/sensor {\"t\":21}", "temperature=21 stale: retained message of unknown age | unreachable no message yet",
			"2 !p/relay ON", "relay=true stale: retained message of unknown age | unreachable no message yet",
			// Published on change only: the last value is current.
			"3 !p/lwt online", "relay=true | degraded temperature: retained message of unknown age",
			"4 p/sensor {\"t\":22}", "temperature=22 | ok",
			"5 !p/sensor {\"t\":1}", "| ok",
		},
		"wrong values": {
			"1 p/sensor {\"t\":21}", "temperature=21 | ok",
			"2 p/sensor {\"t\":\"NaN\"}", "temperature=21 bad: \"NaN\" is not a number | degraded temperature: \"NaN\" is not a number",
			"3 p/sensor {", "temperature=21 bad: payload is not JSON: unexpected EOF; humidity=nothing bad: payload is not JSON: unexpected EOF | degraded 2 of 2 points: temperature: payload is not JSON: unexpected EOF",
			"4 p/sensor {\"t\":22}", "temperature=22 | degraded humidity: payload is not JSON: unexpected EOF",
			"5 p/relay maybe", "relay=nothing bad: \"maybe\" is neither on nor off | degraded 2 of 3 points: relay: \"maybe\" is neither on nor off",
		},
		"nothing is said by nothing": {
			"1 p/relay ", "| unreachable no message yet",
			"1 p/lwt ", "| unreachable no message yet",
		},
		"the broker is lost": {
			"1 p/lwt online", "| ok",
			"2 p/relay ON", "relay=true | ok",
			"3 lose broker b: gone", "temperature=nothing stale: broker b: gone; relay=true stale: broker b: gone | unreachable broker b: gone",
			"4 lose ", "temperature=nothing stale: not received yet; relay=true stale: from before 12:00:03, when the connection to the broker was lost | degraded relay: from before 12:00:03, when the connection to the broker was lost",
			"5 !p/lwt online", "| degraded relay: from before 12:00:03, when the connection to the broker was lost",
			"6 !p/relay OFF", "relay=false | ok",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var steps, want []string
			for i := 0; i < len(story); i += 2 {
				steps, want = append(steps, story[i]), append(want, story[i+1])
			}
			for i, got := range play(plug(), steps...) {
				if got != want[i] {
					t.Errorf("%s:\n got %s\nwant %s", steps[i], got, want[i])
				}
			}
		})
	}
}

func TestSourceTime(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	spec := plug()
	spec.Time = Path{{"at", -1}}
	for _, x := range []struct {
		at   string
		want time.Time
	}{
		{`"2026-03-01T12:59:00+01:00"`, began.Add(-time.Minute)},
		{`1772366340`, began.Add(-time.Minute)},
		{`1772366340500`, began.Add(-time.Minute + 500*time.Millisecond)},
		{`1772366340.5`, began.Add(-time.Minute + 500*time.Millisecond)},
		{`"2026-03-01T12:00:00"`, began},  // no zone: unknown
		{`"2027-03-01T12:00:00Z"`, began}, // a clock that is wrong
		{`17`, began}, {`null`, began}, {`{}`, began}, {`"soon"`, began},
	} {
		d := NewDevice(spec, began)
		d.Receive(Message{"p/sensor", []byte(`{"t":1,"at":` + x.at + `}`), false}, began)
		if got := d.Sample(0, began); !got.Time.Equal(x.want) || got.Quality != "" {
			t.Errorf("%s: %v, want %v", x.at, got, x.want)
		}
	}
	d := NewDevice(spec, began)
	say := func(second int, retained bool) []int {
		now := began.Add(time.Minute)
		return d.Receive(Message{"p/sensor", fmt.Appendf(nil, `{"t":%d,"at":%d}`, second, now.Unix()-int64(second)), retained}, now)
	}
	if list := say(50, true); len(list) != 1 || d.Sample(0, began.Add(time.Minute)).Quality != "" {
		t.Error("a retained message that tells how old it is, is not good")
	}
	if say(40, false) == nil || say(40, false) != nil || say(45, false) != nil {
		t.Error("what comes twice or late is published")
	}
	now := began.Add(time.Minute)
	for _, value := range []string{"7", "8"} {
		d.Receive(Message{"p/sensor", fmt.Appendf(nil, `{"t":%s,"at":%d}`, value, now.Unix()), false}, now)
	}
	if got := d.Sample(0, now); got.Value.Number != 8 {
		t.Errorf("%+v, want what was said last in the same second", got)
	}
	if say(3000, false) == nil {
		t.Error("a clock that is set back silences the device")
	}
}

// Whatever a device publishes, in whatever order: no value is good that was not published since the
// device was last lost, offline or silent; and when nothing is due any more, everything has been
// published in its present state.
func TestNoOldValueIsGood(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := plug()
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		d := NewDevice(spec, now)
		fresh := make([]bool, len(spec.Points)) // received live since then
		said := map[int]Sample{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "seconds")) * time.Second)
			list := d.Tick(now)
			retained := rapid.Bool().Draw(t, "retained")
			switch rapid.IntRange(0, 5).Draw(t, "what") {
			case 0:
				list = append(list, d.Receive(Message{"p/sensor", fmt.Appendf(nil, `{"t":%d}`, now.Unix()%100), retained}, now)...)
				fresh[0] = fresh[0] || !retained
			case 1:
				list = append(list, d.Receive(Message{"p/relay", []byte("ON"), retained}, now)...)
				fresh[1] = fresh[1] || !retained
			case 2:
				list = append(list, d.Receive(Message{"p/lwt", []byte(rapid.SampledFrom([]string{"online", "offline", "x"}).Draw(t, "lwt")), retained}, now)...)
			case 3:
				list = append(list, d.Receive(Message{"p/sensor", []byte("{"), retained}, now)...)
			case 4:
				list = append(list, d.ConnectionLost("gone", now)...)
				list = append(list, d.ConnectionLost("", now)...)
				clear(fresh)
			}
			for _, i := range list {
				said[i] = d.Sample(i, now)
			}
			for i := range spec.Points {
				s := d.Sample(i, now)
				if s.Quality == "" && (d.OfflineCause() != "" || d.silent(now)) {
					t.Fatalf("%s is good although the device is away", spec.Points[i].Name)
				}
				if s.Quality == "" && !fresh[i] && (spec.Points[i].Silence > 0 || !d.online()) {
					t.Fatalf("%s is good although nobody has said it", spec.Points[i].Name)
				}
				if was, ok := said[i]; (ok || s.Cause != waiting.cause && s.Quality != "") && (was.Quality != s.Quality || was.Cause != s.Cause) {
					t.Fatalf("%s was published as %v and is %v", spec.Points[i].Name, was, s)
				}
			}
			if at := d.Due(now); !at.IsZero() && at.Before(now) {
				t.Fatalf("due at %v, before %v", at, now)
			}
		}
		for range 10 { // waking up when due misses nothing
			at := d.Due(now)
			if at.IsZero() {
				break
			}
			for _, i := range d.Tick(at.Add(-1)) {
				t.Fatalf("%s changes before it is due", spec.Points[i].Name)
			}
			d.Tick(at)
			now = at
		}
		if list := d.Tick(now.Add(time.Hour)); len(list) > 0 && d.Due(now).IsZero() {
			t.Fatalf("%v change although nothing is due", list)
		}
	})
}

func TestRecognise(t *testing.T) {
	shapes := []Shape{
		{"switch", []string{"tele/{device}/STATE POWER", "tele/{device}/LWT"}},
		{"meter", []string{"tele/{device}/SENSOR ENERGY.Power", "tele/{device}/LWT", "tele/{device}/STATE POWER"}},
		{"climate", []string{"z/{device} temperature humidity"}},
	}
	seen := func(topic, payload string) Seen { return Seen{Topic: topic, Payload: []byte(payload)} }
	found, rest := Recognise(shapes, []Seen{
		seen("tele/a/LWT", "Online"), seen("tele/a/STATE", `{"POWER":"ON"}`),
		seen("tele/b/LWT", "Online"), seen("tele/b/STATE", `{"POWER":"ON"}`), seen("tele/b/SENSOR", `{"Time":"x","ENERGY":{"Total":1,"Power":3,"Cut":`),
		seen("tele/c/LWT", "Online"),
		seen("z/first/floor", `{"temperature":1,"humidity":2}`), seen("z/door", `{"contact":true}`),
	})
	var got []string
	for _, f := range found {
		got = append(got, f.Profile+" "+f.Device)
	}
	for _, s := range rest {
		got = append(got, s.Topic)
	}
	if want := []string{"switch a", "meter b", "climate first/floor", "tele/c/LWT", "z/door"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
