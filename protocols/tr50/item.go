// Package tr50 sends records to a server of the TR50 protocol over MQTT (Telit deviceWISE, Wind
// River Device Cloud): numbers as properties, texts as attributes, and alarms, locations and logs;
// and it carries out the methods in its mailbox. A record counts as delivered when the reply to its
// command reports success. Source: the public API reference of the deviceWISE IoT portal.
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

// Form says how the fields of a record are published.
type Form struct {
	// Key of properties, attributes and alarms: ${track} is the last part of the track's name,
	// ${path} all of it, ${field} the field.
	Key    string
	Alarms []string // names of fields that are alarm states; * stands for any run of characters
	Logs   []string // names of fields that are log lines
	Place  Place
}

// Place names the fields that make a location. Without latitude and longitude there is none.
type Place struct{ Latitude, Longitude, Altitude, Speed, Heading, Accuracy string }

// item is one published thing: one element of a batch command.
type item struct {
	kind   string         // property, attribute, alarm, location, log
	params map[string]any // of <kind>.publish, and of one element of <kind>.batch
	record int            // index of its record in the batch
}

// stamp formats a time as in TR50.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// items returns what a record publishes: the fields that are known and good, or a log line for a
// record of absence.
func (f Form) items(r record.Record, index int) []item {
	ts := stamp(r.Time)
	if r.Absent {
		text := "nothing was received from " + r.Track
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

// sort returns how a field that is not part of a location is published; nil if it cannot be.
func (f Form) sort(x record.Field) (kind string, value any) {
	switch {
	case oneOf(f.Logs, x.Name):
		return "log", text(x.Value)
	case oneOf(f.Alarms, x.Name):
		return "alarm", state(x.Value)
	}
	return plain(x.Value)
}

// Carries reports whether a record publishes anything. Fields of a location count too: if they made
// no location, they would be published individually.
func (f Form) Carries(r record.Record) bool {
	return r.Absent || slices.ContainsFunc(r.Fields, func(x record.Field) bool {
		if x.Quality != "" {
			return false
		}
		_, value := f.sort(x)
		return value != nil
	})
}

// key returns the name of a field at the server.
func (f Form) key(track, field string) string {
	last := track[strings.LastIndexByte(track, '/')+1:]
	return strings.NewReplacer("${track}", last, "${path}", strings.ReplaceAll(track, "/", "."), "${field}", field).Replace(f.Key)
}

// CheckKey returns what is wrong with a template of keys.
func CheckKey(key string) error {
	rest := strings.NewReplacer("${track}", "", "${path}", "", "${field}", "").Replace(key)
	switch {
	case !strings.Contains(key, "${field}"):
		return fmt.Errorf("%q must contain ${field}, or all fields have the same key", key)
	case strings.Contains(rest, "${"):
		return fmt.Errorf("%q: unknown placeholder: want ${track}, ${path} or ${field}", key)
	}
	return nil
}

// plain returns how a value is published: numbers as properties, texts as attributes; nil if it
// cannot be.
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

// state returns an alarm state, which is a whole number.
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

// number returns a value as a number.
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

// of returns the location in a record; nil if there is none.
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

// key returns the parameter of location.publish for a field.
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

// oneOf reports whether one of the patterns matches name.
func oneOf(patterns []string, name string) bool {
	for _, p := range patterns {
		if like(p, name) {
			return true
		}
	}
	return false
}

// like reports whether a pattern, in which * stands for any text, matches name.
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
