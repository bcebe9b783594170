package tr50

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
)

// Carries agrees with what is actually published.
func TestCarries(t *testing.T) {
	forms := []Form{
		{Key: "${field}"},
		{Key: "${field}", Alarms: []string{"al*"}, Logs: []string{"log"}, Place: Place{Latitude: "lat", Longitude: "lng", Altitude: "alarm"}},
		{Key: "${field}", Alarms: []string{"lat"}, Logs: []string{"lng"}, Place: Place{Latitude: "lat", Longitude: "lng"}},
	}
	values := []record.Value{nil, true, int64(-3), uint64(7), 1.5, 91.0, math.NaN(), math.Inf(1), 1e300, "text", "", []byte{0xff}}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom(forms).Draw(t, "form")
		r := record.Record{Track: "tracks/a", Time: time.Unix(1_800_000_000, 0), Absent: rapid.IntRange(0, 9).Draw(t, "absent") == 0}
		for _, name := range []string{"lat", "lng", "alarm", "log", "power"} {
			if rapid.Bool().Draw(t, name) {
				r.Fields = append(r.Fields, record.Field{
					Name: name, Value: rapid.SampledFrom(values).Draw(t, "value"), Quality: rapid.SampledFrom([]string{"", "", "stale"}).Draw(t, "quality"),
				})
			}
		}
		if got, want := f.Carries(r), len(f.items(r, 0)) > 0; got != want {
			t.Fatalf("%+v carries anything: %t, and it is %t", r, got, want)
		}
	})
	r := record.Record{Track: "tracks/a", Fields: []record.Field{{Name: "x", Value: 1.0}, {Name: "y", Value: 2.0}}}
	if n := testing.AllocsPerRun(100, func() { forms[0].Carries(r) }); n > 2 {
		t.Errorf("%v allocations to find that out", n)
	}
}
