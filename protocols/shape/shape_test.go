package shape_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/shape"
)

var who = shape.Origin{Gateway: "site-7", Uplink: "uplinks/cloud", Client: "dev-1"}

var named = []string{"plain", "webhook", "thingsboard", "aws-iot", "azure-iot-hub", "azure-event-grid", "home-assistant"}

func maker(t interface{ Fatal(...any) }, name string) *shape.Maker {
	f, err := shape.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := f.New(who)
	if err != nil {
		t.Fatal(name, err)
	}
	return m
}

func energy(sequence uint64, fields ...record.Field) record.Record {
	return record.Record{Track: "tracks/energy", Number: 3, Sequence: sequence, Time: time.UnixMilli(1_800_000_000_250), Trusted: true, Fields: fields}
}

func TestNamedShapes(t *testing.T) {
	batch := []record.Record{
		energy(1, record.Field{Name: "power", ID: 1, Unit: "kW", Value: 1.5}, record.Field{Name: "on", ID: 2, Value: true}),
		energy(2, record.Field{Name: "power", ID: 1, Value: int64(-3), Quality: "stale", Cause: "timeout"}),
	}
	for name, want := range map[string][]string{ // topic, then payload of each message
		"plain": {"gatewayd/site-7/tracks/energy", `[{"gateway":"site-7","track":"tracks/energy","sequence":1,"time":"2027-01-15T08:00:00.25Z","fields":{"power":1.5,"on":true}},` +
			`{"gateway":"site-7","track":"tracks/energy","sequence":2,"time":"2027-01-15T08:00:00.25Z","fields":{"power":-3},"bad":{"power":"stale: timeout"}}]`},
		"thingsboard":      {"v1/devices/me/telemetry", `[{"ts":1800000000250,"values":{"energy.power":1.5,"energy.on":true}},{"ts":1800000000250,"values":{"energy.power":-3}}]`},
		"aws-iot":          {"dt/gatewayd/site-7/tracks/energy", `{"gateway":"site-7","records":[{"track":"tracks/energy","sequence":1,"ts":1800000000250,"values":{"power":1.5,"on":true}},{"track":"tracks/energy","sequence":2,"ts":1800000000250,"values":{"power":-3},"bad":{"power":"stale: timeout"}}]}`},
		"azure-iot-hub":    {"devices/dev-1/messages/events/$.ct=application%2Fjson&$.ce=utf-8", ""},
		"azure-event-grid": {"gateways/site-7/telemetry", ""},
	} {
		all := maker(t, name).Make("id", batch)
		if len(all) != 1 || all[0].Topic != want[0] || want[1] != "" && string(all[0].Payload) != want[1] || len(all[0].Records) != 2 {
			t.Errorf("%s: %+v\n%s", name, all, all[0].Payload)
		}
	}
}

func TestHomeAssistantFindsFields(t *testing.T) {
	m := maker(t, "home-assistant")
	batch := []record.Record{energy(1, record.Field{Name: "power", Unit: "kW", Value: 1.5}), energy(2, record.Field{Name: "power", Unit: "kW", Value: 2.5})}
	all := m.Make("id", batch)
	if len(all) != 3 || !all[0].Retain || all[0].Topic != "homeassistant/sensor/site-7_tracks_energy/power/config" || all[1].Retain || string(all[2].Payload) != `{"power":2.5}` {
		t.Fatalf("%+v", all)
	}
	var announced struct {
		StateTopic string `json:"state_topic"`
		UniqueID   string `json:"unique_id"`
		Template   string `json:"value_template"`
		Unit       string `json:"unit_of_measurement"`
	}
	if err := json.Unmarshal(all[0].Payload, &announced); err != nil || announced.StateTopic != all[1].Topic || announced.Unit != "kW" ||
		announced.UniqueID != "gatewayd_site-7_tracks/energy_power" || announced.Template != "{{ value_json['power'] }}" {
		t.Errorf("%v: %+v", err, announced)
	}
	if again := m.Make("id", batch); len(again) != 2 {
		t.Errorf("announced again: %+v", again)
	}
}

func values() *rapid.Generator[record.Value] {
	return rapid.OneOf(
		rapid.Map(rapid.Float64(), func(v float64) record.Value { return v }), rapid.Map(rapid.String(), func(v string) record.Value { return v }),
		rapid.Map(rapid.Int64(), func(v int64) record.Value { return v }), rapid.Map(rapid.Uint64(), func(v uint64) record.Value { return v }),
		rapid.Map(rapid.Bool(), func(v bool) record.Value { return v }), rapid.Map(rapid.SliceOf(rapid.Byte()), func(v []byte) record.Value { return v }),
		rapid.SampledFrom([]record.Value{nil, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21, "\x00\xff\"\\<&\u2028"}),
	)
}

func batches(t *rapid.T) (all []record.Record) {
	for i := range rapid.IntRange(1, 6).Draw(t, "records") {
		r := record.Record{
			Track: "tracks/" + rapid.StringMatching(`[a-z0-9-]{1,5}`).Draw(t, "track"), Sequence: uint64(i + 1), Cause: rapid.String().Draw(t, "cause"),
			Trusted: rapid.Bool().Draw(t, "trusted"), Absent: rapid.Bool().Draw(t, "absent"), Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0),
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.String(), 0, 4, rapid.ID[string]).Draw(t, "fields") {
			r.Fields = append(r.Fields, record.Field{Name: name, Unit: rapid.String().Draw(t, "unit"), Value: values().Draw(t, "value"), Quality: rapid.SampledFrom([]string{"", "stale"}).Draw(t, "quality")})
		}
		all = append(all, r)
	}
	return all
}

// Whatever records contain, the JSON forms are JSON, each record is in exactly one message, those
// of a topic are in order, and topics are valid.
func TestShapesAreJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := batches(t)
		for _, name := range named {
			last := map[string]int{}
			seen := 0
			for _, m := range maker(t, name).Make("id", batch) {
				if !json.Valid(m.Payload) {
					t.Fatalf("%s: %q", name, m.Payload)
				}
				if strings.ContainsAny(m.Topic, "+#\x00") {
					t.Fatalf("%s: topic %q", name, m.Topic)
				}
				for _, i := range m.Records {
					if prev, ok := last[m.Topic]; ok && i <= prev {
						t.Fatalf("%s: record %d after %d", name, i, prev)
					}
					last[m.Topic] = i
					seen++
				}
			}
			if seen != len(batch) {
				t.Fatalf("%s: %d of %d records", name, seen, len(batch))
			}
		}
		if p := shape.OTLPJSON("g", batch); !json.Valid(p) {
			t.Fatalf("%q", p)
		}
		for line := range strings.Lines(string(shape.Influx("g", batch))) {
			if !strings.HasSuffix(line, "\n") {
				t.Fatalf("%q", line)
			}
		}
	})
}

func TestInflux(t *testing.T) {
	batch := []record.Record{
		energy(1, record.Field{Name: "a b", Value: 1.5}, record.Field{Name: "n", Value: int64(-2)}, record.Field{Name: "u", Value: uint64(math.MaxUint64)}, record.Field{Name: "s", Value: `x"\`}, record.Field{Name: "nan", Value: math.NaN()}),
		energy(2, record.Field{Name: "nothing"}), {Track: "tracks/a", Absent: true, Time: time.Unix(1, 0)},
	}
	want := "energy,gateway=si\\ te,track=tracks/energy a\\ b=1.5,n=-2i,u=18446744073709551615u,s=\"x\\\"\\\\\" 1800000000250000000\n" +
		"a,gateway=si\\ te,track=tracks/a absent=true 1000000000\n"
	if got := string(shape.Influx("si te", batch)); got != want {
		t.Errorf("%s", got)
	}
}

func TestTemplatesRefuse(t *testing.T) {
	for says, f := range map[string]shape.Form{
		"${x} is not one of":           {Record: "${x}"},
		"after $ a {name} must follow": {Record: "$x"},
		"record is missing":            {},
		"topic: ${time} is not one":    {Record: "a", Topic: "${time}"},
		"field: ${fields} is not one":  {Record: "a", Field: "${fields}"},
	} {
		if _, err := f.New(who); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if _, err := shape.Named("nonsense"); err == nil {
		t.Error("found")
	}
	if _, err := shape.ParseForm("a: b"); err == nil {
		t.Error("read")
	}
}
