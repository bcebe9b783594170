// Package tr50 sends records to a server of the TR50 protocol over MQTT (Telit deviceWISE, Wind River Device Cloud): telemetry as
// properties, texts as attributes, alarms, locations and logs; and has the methods in its mailbox carried out. A record counts as
// delivered when the reply to its command says success. Source: the public API reference of the deviceWISE IoT portal.
package tr50

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gatewayd/protocols/record"
)

// Form says what becomes of the fields of a record.
type Form struct {
	Key    string   // of properties, attributes and alarms: ${track} is the last part of the track's name, ${path} all of it, ${field} the field
	Alarms []string // names of fields that are states of alarms; * stands for any run of characters
	Logs   []string // names of fields that are lines of a log
	Place  Place
}

// Place names the fields that make a location. Without latitude and longitude there is none.
type Place struct{ Latitude, Longitude, Altitude, Speed, Heading, Accuracy string }

// item is one thing that is published: what a record of a batch command has.
type item struct {
	kind   string         // property, attribute, alarm, location, log
	params map[string]any // of <kind>.publish, and of one record of <kind>.batch
	record int            // of the batch of records that it is from
}

// stamp is a time as TR50 has it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// items are what a record publishes: the fields that are known and good. Of a record of absence it is a line of the log.
func (f Form) items(r record.Record, index int) []item {
	ts := stamp(r.Time)
	if r.Absent {
		text := "nothing was heard of " + r.Track
		if r.Cause != "" {
			text += ": " + r.Cause
		}
		return []item{{"log", map[string]any{"msg": text, "ts": ts}, index}}
	}
	var all []item
	place := f.Place.of(r)
	if place != nil {
		place["ts"] = ts
		all = append(all, item{"location", place, index})
	}
	for _, x := range r.Fields {
		if x.Quality != "" || place != nil && f.Place.has(x.Name) {
			continue
		}
		kind, value := f.sort(x)
		if value == nil {
			continue
		}
		if kind == "log" {
			all = append(all, item{kind, map[string]any{"msg": value, "ts": ts}, index})
			continue
		}
		params := map[string]any{"key": f.key(r.Track, x.Name), "value": value, "ts": ts}
		if kind == "alarm" {
			params = map[string]any{"key": params["key"], "state": value, "ts": ts}
			if r.Cause != "" {
				params["msg"] = r.Cause
			}
		}
		all = append(all, item{kind, params, index})
	}
	return all
}

// sort says what a field that makes no location is published as; nil if it cannot be.
func (f Form) sort(x record.Field) (kind string, value any) {
	switch {
	case oneOf(f.Logs, x.Name):
		return "log", text(x.Value)
	case oneOf(f.Alarms, x.Name):
		return "alarm", state(x.Value)
	}
	return plain(x.Value)
}

// Carries says whether a record publishes anything. What makes a location would be published otherwise if it made none.
func (f Form) Carries(r record.Record) bool {
	return r.Absent || slices.ContainsFunc(r.Fields, func(x record.Field) bool {
		if x.Quality != "" {
			return false
		}
		_, value := f.sort(x)
		return value != nil
	})
}

// key names a field at the far end.
func (f Form) key(track, field string) string {
	last := track[strings.LastIndexByte(track, '/')+1:]
	return strings.NewReplacer("${track}", last, "${path}", strings.ReplaceAll(track, "/", "."), "${field}", field).Replace(f.Key)
}

// CheckKey says what is wrong with a template of keys.
func CheckKey(key string) error {
	rest := strings.NewReplacer("${track}", "", "${path}", "", "${field}", "").Replace(key)
	switch {
	case !strings.Contains(key, "${field}"):
		return fmt.Errorf("%q must have ${field}, or all fields are one", key)
	case strings.Contains(rest, "${"):
		return fmt.Errorf("%q: only ${track}, ${path} and ${field} stand for anything", key)
	}
	return nil
}

// plain is how a value is published: numbers as properties, texts as attributes; nil if it cannot be.
func plain(v record.Value) (kind string, value any) {
	switch x := v.(type) {
	case bool:
		if x {
			return "property", 1
		}
		return "property", 0
	case int64, uint64:
		return "property", x
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return "", nil
		}
		return "property", x
	case string, []byte:
		return "attribute", text(x)
	}
	return "", nil
}

func text(v record.Value) any {
	switch x := v.(type) {
	case nil:
		return nil
	case []byte:
		return base64.StdEncoding.EncodeToString(x)
	case string:
		return strings.ToValidUTF8(x, "\ufffd")
	}
	return fmt.Sprint(v)
}

// state is that of an alarm, a whole number.
func state(v record.Value) any {
	switch x := v.(type) {
	case float64:
		if r := math.Round(x); math.Abs(r) < 1<<53 {
			return int64(r)
		}
		return nil
	case bool, int64, uint64:
		_, value := plain(x)
		return value
	}
	return nil
}

// number is a value as a number.
func number(v record.Value) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, !math.IsNaN(x) && !math.IsInf(x, 0)
	case int64:
		return float64(x), true
	case uint64:
		return float64(x), true
	}
	return 0, false
}

// of is the location that a record has, nil if it has none.
func (p Place) of(r record.Record) map[string]any {
	found := map[string]any{}
	for _, f := range r.Fields {
		if key := p.key(f.Name); key != "" && f.Quality == "" {
			if n, ok := number(f.Value); ok {
				found[key] = n
			}
		}
	}
	lat, some := found["lat"].(float64)
	lng, both := found["lng"].(float64)
	if !some || !both || math.Abs(lat) > 90 || math.Abs(lng) > 180 {
		return nil
	}
	return found
}

func (p Place) has(field string) bool { return p.key(field) != "" }

// key is the parameter of location.publish that a field is.
func (p Place) key(field string) string {
	switch field {
	case "":
	case p.Latitude:
		return "lat"
	case p.Longitude:
		return "lng"
	case p.Altitude:
		return "altitude"
	case p.Speed:
		return "speed"
	case p.Heading:
		return "heading"
	case p.Accuracy:
		return "fixAcc"
	}
	return ""
}

// oneOf says whether one of these patterns is like name.
func oneOf(patterns []string, name string) bool {
	for _, p := range patterns {
		if like(p, name) {
			return true
		}
	}
	return false
}

// like tells whether * in a pattern may stand for something that makes it name.
func like(pattern, name string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == name
	}
	if !strings.HasPrefix(name, first) {
		return false
	}
	for name = name[len(first):]; ; name = name[1:] {
		if like(rest, name) {
			return true
		}
		if name == "" {
			return false
		}
	}
}
