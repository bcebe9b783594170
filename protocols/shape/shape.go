// Package shape encodes records as messages: JSON of any form by templates, which are data, and
// also InfluxDB line protocol and OpenTelemetry metrics.
package shape

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/record"
)

// Form defines messages by templates, in which ${name} stands for a value as JSON, and ${name:text}
// for the value without quotes.
type Form struct {
	ContentType   string
	Topic         string // for MQTT; values in it are never quoted
	Begin         string // before the records of a batch
	Between       string // between them; empty: each record is a message of its own
	End           string
	Record        string
	Field         string // template of one element of ${fields} in a record
	BetweenFields string
	// AnnounceTopic and Announce are for a retained message that is sent before a field is first
	// sent; empty: none.
	AnnounceTopic string
	Announce      string
}

// Origin identifies the sender.
type Origin struct {
	Gateway string
	Uplink  string // path of the actor
	Client  string // MQTT client id
}

// A Message is a payload with its topic.
type Message struct {
	Topic   string
	Payload []byte
	Records []int // indexes in the batch
	ID      string
	Retain  bool // an announcement
}

// Maker makes messages of one form. It is not safe for concurrent use.
type Maker struct {
	ContentType                      string
	who                              Origin
	topic, begin, end, record, field template
	announceTopic, announce          template
	between, betweenFields           string
	known                            map[string]bool // fields that were announced
	singly                           bool
}

//go:embed shapes/*.shape
var files embed.FS

// Named returns a built-in form.
func Named(name string) (Form, error) {
	raw, err := files.ReadFile("shapes/" + name + ".shape")
	if err != nil {
		return Form{}, fmt.Errorf("shape %q is not known", name)
	}
	return ParseForm(string(raw))
}

// ParseForm parses a form: each line is a key, a colon and the value up to the end of the line.
// Lines that begin with # are comments.
func ParseForm(s string) (Form, error) {
	var f Form
	keys := map[string]*string{
		"content-type": &f.ContentType, "topic": &f.Topic, "begin": &f.Begin, "between": &f.Between, "end": &f.End, "record": &f.Record, "field": &f.Field,
		"between-fields": &f.BetweenFields, "announce-topic": &f.AnnounceTopic, "announce": &f.Announce,
	}
	for i, line := range strings.Split(s, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		at := keys[key]
		if !ok || at == nil {
			return f, fmt.Errorf("line %d: %q is not a key of a shape", i+1, key)
		}
		*at = strings.TrimSpace(value)
	}
	return f, nil
}

// New returns a maker, or what is wrong with the form.
func (f Form) New(who Origin) (*Maker, error) {
	m := &Maker{ContentType: f.ContentType, who: who, between: f.Between, betweenFields: f.BetweenFields, known: map[string]bool{}, singly: f.Between == ""}
	for _, x := range []struct {
		to    *template
		what  string
		text  string
		names [][]string
	}{
		{&m.topic, "topic", f.Topic, [][]string{ofGateway, {"track", "track.name", "number"}}},
		{&m.begin, "begin", f.Begin, [][]string{ofGateway, ofMessage}},
		{&m.end, "end", f.End, [][]string{ofGateway, ofMessage}},
		{&m.record, "record", f.Record, [][]string{ofGateway, ofMessage, ofRecord}},
		{&m.field, "field", f.Field, [][]string{ofGateway, ofRecord[:len(ofRecord)-3], ofField}},
		{&m.announceTopic, "announce-topic", f.AnnounceTopic, [][]string{ofGateway, {"track", "track.name", "number"}, ofField}},
		{&m.announce, "announce", f.Announce, [][]string{ofGateway, {"track", "track.name", "number", "topic"}, ofField}},
	} {
		var err error
		if *x.to, err = parse(x.text, x.names...); err != nil {
			return nil, fmt.Errorf("%s: %w", x.what, err)
		}
	}
	if f.Record == "" {
		return nil, fmt.Errorf("record is missing")
	}
	return m, nil
}

// SaysBatch reports whether messages contain the id of their batch.
func (m *Maker) SaysBatch() bool {
	return m.begin.uses("batch") || m.end.uses("batch") || m.record.uses("batch")
}

// Make makes the messages of a batch: one for each topic, or for each record, in the order of the
// records. id is the id of the first message and the prefix of the others.
func (m *Maker) Make(id string, batch []record.Record) []Message {
	var all []Message
	at := map[string]int{}
	for i := range batch {
		topic := m.topicOf(&batch[i])
		all = m.announceNew(all, topic, &batch[i])
		n, open := at[topic]
		if !open || m.singly {
			at[topic] = len(all)
			all = append(all, Message{Topic: topic, Records: []int{i}})
			continue
		}
		all[n].Records = append(all[n].Records, i)
	}
	for i := range all {
		if len(all[i].Records) > 0 {
			all[i].ID = id
			if i > 0 {
				all[i].ID += "-" + strconv.Itoa(i)
			}
			all[i].Payload = m.payload(all[i].ID, batch, all[i].Records)
		}
	}
	return all
}

func (m *Maker) payload(id string, batch []record.Record, which []int) []byte {
	message := func(b []byte, p piece) []byte {
		switch p.name {
		case "batch":
			return text(b, id, p.bare)
		case "count":
			return strconv.AppendInt(b, int64(len(which)), 10)
		}
		return m.ours(b, p)
	}
	b := m.begin.render(make([]byte, 0, 160*len(which)), message)
	for k, i := range which {
		if k > 0 {
			b = append(b, m.between...)
		}
		r := &batch[i]
		b = m.record.render(b, func(b []byte, p piece) []byte {
			switch p.name {
			case "fields":
				return m.fields(b, r)
			case "bad":
				return bad(b, r)
			case "flags":
				return flags(b, r)
			case "batch", "count":
				return message(b, p)
			}
			return m.ofRecord(b, r, p)
		})
	}
	return m.end.render(b, message)
}

func (m *Maker) fields(b []byte, r *record.Record) []byte {
	for i := range r.Fields {
		if i > 0 {
			b = append(b, m.betweenFields...)
		}
		b = m.field.render(b, func(b []byte, p piece) []byte { return m.ofField(b, r, &r.Fields[i], p) })
	}
	return b
}

func (m *Maker) ours(b []byte, p piece) []byte {
	switch p.name {
	case "gateway":
		return text(b, m.who.Gateway, p.bare)
	case "uplink":
		return text(b, m.who.Uplink, p.bare)
	}
	return text(b, m.who.Client, p.bare)
}

func (m *Maker) ofField(b []byte, r *record.Record, f *record.Field, p piece) []byte {
	switch p.name {
	case "name":
		return text(b, f.Name, p.bare)
	case "value":
		return put(b, f.Value, p.bare)
	case "unit":
		if f.Unit == "" && !p.bare {
			return append(b, "null"...)
		}
		return text(b, f.Unit, p.bare)
	case "quality":
		return text(b, quality(f), p.bare)
	case "field.cause":
		return text(b, f.Cause, p.bare)
	case "field.id":
		return strconv.AppendUint(b, uint64(f.ID), 10)
	}
	return m.ofRecord(b, r, p)
}

func quality(f *record.Field) string {
	if f.Quality == "" {
		return "good"
	}
	return f.Quality
}

func (m *Maker) ofRecord(b []byte, r *record.Record, p piece) []byte {
	switch p.name {
	case "track":
		return text(b, r.Track, p.bare)
	case "track.name":
		return text(b, base(r.Track), p.bare)
	case "number":
		return strconv.AppendUint(b, uint64(r.Number), 10)
	case "sequence":
		return strconv.AppendUint(b, r.Sequence, 10)
	case "id": // the same for a record whenever it is sent, so that duplicates can be recognised
		return text(b, m.who.Gateway+"/"+r.Track+"/"+strconv.FormatUint(r.Sequence, 10), p.bare)
	case "time":
		return text(b, r.Time.UTC().Format(time.RFC3339Nano), p.bare)
	case "time.s":
		return strconv.AppendInt(b, r.Time.Unix(), 10)
	case "time.ms":
		return strconv.AppendInt(b, r.Time.UnixMilli(), 10)
	case "time.ns":
		return strconv.AppendInt(b, r.Time.UnixNano(), 10)
	case "trusted":
		return strconv.AppendBool(b, r.Trusted)
	case "boot":
		return text(b, r.Boot, p.bare)
	case "uptime.ms":
		return strconv.AppendInt(b, r.Uptime.Milliseconds(), 10)
	case "absent":
		return strconv.AppendBool(b, r.Absent)
	case "cause":
		return text(b, r.Cause, p.bare)
	}
	return m.ours(b, p)
}

// bad appends ,"bad":{"power":"stale: timeout"} for the fields that are not good; nothing if all
// are.
func bad(b []byte, r *record.Record) []byte {
	n := 0
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Quality == "" {
			continue
		}
		if n++; n == 1 {
			b = append(b, `,"bad":{`...)
		} else {
			b = append(b, ',')
		}
		why := f.Quality
		if f.Cause != "" {
			why += ": " + f.Cause
		}
		b = text(append(text(b, f.Name, false), ':'), why, false)
	}
	if n > 0 {
		b = append(b, '}')
	}
	return b
}

// flags appends what is unusual about a record; usually nothing.
func flags(b []byte, r *record.Record) []byte {
	if !r.Trusted {
		b = append(b, `,"trusted":false`...)
	}
	if r.Absent {
		b = append(b, `,"absent":true`...)
	}
	if r.Cause != "" {
		b = text(append(b, `,"cause":`...), r.Cause, false)
	}
	return b
}

func base(track string) string { return track[strings.LastIndexByte(track, '/')+1:] }
