package uplink

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gatewayd/protocols/record"
)

// A Rule defines how the fields that it matches are sent.
type Rule struct {
	Tracks []string // MQTT filters on the names of tracks, "tracks/#"; none: all
	Fields []string // names of fields, in which * stands for any run of characters; none: all

	Rename    string  // name at the far end; * in it stands for the original name. Empty: unchanged
	Unit      string  // unit at the far end; empty: unchanged
	Scale     float64 // factor for numbers; 0 is 1
	Offset    float64 // added after scaling
	Precision *int    // decimals that are kept; -1 keeps tens. nil: all
	Redact    Redact

	SlowPrecision *int // decimals while the link is slow, if that is fewer; nil: unchanged
	Low, High     bool // low: left out while the link is slow; high: sent even while it crawls
}

// Redact says what the far end may learn of a field.
type Redact string

// Everything; nothing; that there is a value; and whether it equals an earlier one.
const (
	Keep Redact = ""
	Drop Redact = "drop" // the field is not sent
	Mask Redact = "mask" // text and bytes become "***", anything else an empty value
	Hash Redact = "hash" // 12 digits of a salted SHA-256: equal values stay equal
)

// A Table selects and converts the fields that one uplink sends. The first rule that matches a
// field decides; a field that none matches is not sent. An empty table sends everything unchanged.
// It is not safe for concurrent use.
type Table struct {
	// Carries reports whether the encoding can express anything of a record, as selected; nil: it
	// can express every record.
	Carries func(record.Record) bool

	rules []rule
	salt  string
	known map[string]*cut // by track
}

type rule struct {
	Rule
	tracks, fields [][]string
	scale          float64
}

// cut is the result of the table for one track.
type cut struct {
	picked bool
	fields map[string]plan
}

type plan struct {
	rule *rule // nil: not sent
	name string
}

// most is how many tracks, and fields of each, are cached.
const most = 4096

// NewTable returns a table with these rules, or which one is wrong. The salt is for Hash; hashes
// with different salts cannot be compared.
func NewTable(rules []Rule, salt string) (*Table, error) {
	t := &Table{salt: salt, known: map[string]*cut{}}
	for i, r := range rules {
		c, err := compile(r)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		t.rules = append(t.rules, c)
	}
	return t, nil
}

func compile(r Rule) (rule, error) {
	c := rule{Rule: r, scale: r.Scale}
	if r.Scale == 0 {
		c.scale = 1
	}
	for _, f := range r.Tracks {
		parts := strings.Split(f, "/")
		if at := slices.Index(parts, "#"); f == "" || at >= 0 && at < len(parts)-1 || slices.Contains(parts, "") {
			return c, fmt.Errorf("tracks: %q is not a valid filter: + stands for one part of a name, # at the end for one or more", f)
		}
		c.tracks = append(c.tracks, parts)
	}
	several := len(r.Fields) == 0
	for _, f := range r.Fields {
		if f == "" {
			return c, fmt.Errorf("fields: a name is empty")
		}
		parts := strings.Split(f, "*")
		several = several || len(parts) > 1
		c.fields = append(c.fields, parts)
	}
	several = several || len(r.Fields) > 1
	if r.Rename != "" && several && !strings.Contains(r.Rename, "*") {
		return c, fmt.Errorf("rename: %q would give several fields the same name: write * for the original name", r.Rename)
	}
	switch r.Redact {
	case Keep, Drop, Mask, Hash:
	default:
		return c, fmt.Errorf("redact: %q is not one of drop, mask, hash", r.Redact)
	}
	if math.IsNaN(r.Scale) || math.IsInf(r.Scale, 0) || math.IsNaN(r.Offset) || math.IsInf(r.Offset, 0) {
		return c, fmt.Errorf("scale and offset must be finite numbers")
	}
	return c, nil
}

// Route returns the part of a record that is sent, and false if there is none. The record itself is
// not changed; the result may share its values. strain decides about fields with a priority.
func (t *Table) Route(r record.Record, strain Strain) (record.Record, bool) {
	r, ok := t.pick(r, strain)
	return r, ok && (t.Carries == nil || t.Carries(r))
}

func (t *Table) pick(r record.Record, strain Strain) (record.Record, bool) {
	if len(t.rules) == 0 {
		return r, true
	}
	c := t.cutOf(r.Track)
	if !c.picked {
		return r, false
	}
	if r.Absent {
		return r, true
	}
	fields := make([]record.Field, 0, len(r.Fields))
	for _, f := range r.Fields {
		p := t.planOf(c, r.Track, f.Name)
		if p.rule == nil || p.rule.Redact == Drop || p.rule.omitted(strain) || taken(fields, p.name) {
			continue
		}
		fields = append(fields, t.apply(p, f, strain))
	}
	r.Fields = fields
	return r, len(fields) > 0
}

// taken reports whether a field has the name already: if rules give two fields the same name, the
// first is sent.
func taken(fields []record.Field, name string) bool {
	return slices.ContainsFunc(fields, func(f record.Field) bool { return f.Name == name })
}

func (r *rule) omitted(strain Strain) bool {
	return r.Low && strain >= Slow || !r.High && strain == Crawl
}

func (t *Table) apply(p plan, f record.Field, strain Strain) record.Field {
	r := p.rule
	f.Name = p.name
	if r.Unit != "" {
		f.Unit = r.Unit
	}
	f.Value = r.shape(f.Value, r.decimals(strain))
	switch {
	case f.Value == nil || r.Redact == Keep:
	case r.Redact == Hash:
		f.Value = hashed(t.salt, f.Value)
	default:
		f.Value = masked(f.Value)
	}
	return f
}

func (t *Table) cutOf(track string) *cut {
	c, ok := t.known[track]
	if !ok {
		if len(t.known) >= most {
			clear(t.known)
		}
		c = &cut{fields: map[string]plan{}}
		c.picked = slices.ContainsFunc(t.rules, func(r rule) bool { return r.Redact != Drop && r.ofTrack(track) })
		t.known[track] = c
	}
	return c
}

func (t *Table) planOf(c *cut, track, field string) plan {
	p, ok := c.fields[field]
	if ok {
		return p
	}
	if i := slices.IndexFunc(t.rules, func(r rule) bool { return r.ofTrack(track) && r.ofField(field) }); i >= 0 {
		p = plan{&t.rules[i], field}
		if r := p.rule.Rename; r != "" {
			p.name = strings.ReplaceAll(r, "*", field)
		}
	}
	if len(c.fields) >= most {
		clear(c.fields)
	}
	c.fields[field] = p
	return p
}

func (r *rule) ofTrack(name string) bool {
	return len(r.tracks) == 0 || slices.ContainsFunc(r.tracks, func(f []string) bool { return picks(f, name) })
}

func (r *rule) ofField(name string) bool {
	return len(r.fields) == 0 || slices.ContainsFunc(r.fields, func(f []string) bool { return like(f, name) })
}

// picks reports whether a filter matches a name.
func picks(filter []string, name string) bool {
	for i, p := range filter {
		if p == "#" {
			return name != ""
		}
		part, rest, more := strings.Cut(name, "/")
		if p != "+" && p != part || more != (i < len(filter)-1) {
			return false
		}
		name = rest
	}
	return true
}

// like reports whether a name consists of these parts with anything between them.
func like(parts []string, name string) bool {
	if len(parts) == 1 {
		return name == parts[0]
	}
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(name, first) || !strings.HasSuffix(name[len(first):], last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		_, rest, ok := strings.Cut(name, p)
		if !ok {
			return false
		}
		name = rest
	}
	return true
}
