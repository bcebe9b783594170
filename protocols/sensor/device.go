package sensor

import (
	"slices"
	"strings"
	"time"
)

// Spec is what is known of a device. Topics are whole: there is no {device} in
// them any more.
type Spec struct {
	Points       []Point
	Availability []Availability
	Commands     []Command
	Silence      time.Duration // of the whole device; 0: it may be silent for ever
	Time         Path          // where messages have their source time; empty: nowhere
	MaxPayload   int           // bytes
}

// Availability is a topic that tells whether the device is there.
type Availability struct {
	Topic           string
	Path            Path
	Online, Offline []string
}

// Topics are all that the device is heard on.
func (s *Spec) Topics() []string {
	var all []string
	for i := range s.Points {
		all = append(all, s.Points[i].Topic)
	}
	for _, a := range s.Availability {
		all = append(all, a.Topic)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Device is what a device has said so far, and what follows from that. Whoever
// has one tells it what is heard and when.
type Device struct {
	spec   Spec
	began  time.Time
	heard  time.Time // its last message, but what was retained; zero: none
	points []reading
	words  []lastWord // of Availability
	lost   string     // why it cannot be heard; empty: it can
}

// reading is what is known of one point.
type reading struct {
	seen     bool   // in some message
	retained bool   // the last message was
	old      string // why it is not known how old it is; empty: it is
	heard    time.Time
	count    uint64 // messages, but those retained
	value    Value
	label    string
	time     time.Time // source time of value; zero: not known
	fault    string    // why the last message had no value

	said verdict // as published last
	told bool    // it was published
}

type lastWord struct {
	known, online bool
	text          string
	since         time.Time // zero: before it was listened for
}

// NewDevice is a device of which nothing was heard yet.
func NewDevice(spec Spec, now time.Time) *Device {
	return &Device{spec: spec, began: now, points: make([]reading, len(spec.Points)), words: make([]lastWord, len(spec.Availability))}
}

// Message is one publish.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // it is what the broker had, not what is said now
}

// Hear takes a message and lists the points to publish. An empty payload says
// nothing: it takes back what was retained.
func (d *Device) Hear(m Message, now time.Time) []int {
	if len(m.Payload) == 0 {
		return nil
	}
	doc := &document{payload: m.Payload, most: d.spec.MaxPayload}
	for i, a := range d.spec.Availability {
		if a.Topic == m.Topic {
			d.word(i, a.read(doc), m.Retained, now)
		}
	}
	at := d.sourceTime(doc, now)
	var carried []int
	for i := range d.spec.Points {
		if d.spec.Points[i].Topic != m.Topic {
			continue
		}
		if !m.Retained {
			d.alive(now)
		}
		if d.take(i, doc, at, m.Retained, now) {
			carried = append(carried, i)
		}
	}
	return d.due(carried, now)
}

// take reads one point; it is false if the message brings nothing of it.
func (d *Device) take(i int, doc *document, at time.Time, retained bool, now time.Time) bool {
	p, r := &d.spec.Points[i], &d.points[i]
	v, label, there, err := p.read(doc)
	switch {
	case !there, retained && r.count > 0 && r.old == "":
		return false
	case !at.IsZero() && r.fault == "" && r.old == "" && r.time.Sub(at) < late && (at.Before(r.time) || at.Equal(r.time) && err == nil && v == r.value):
		return false // it has come after a newer one, or before: clocks of seconds say two things at once
	}
	r.seen, r.retained, r.old, r.fault = true, retained, "", ""
	if retained {
		r.old = "retained, of unknown age"
	}
	if err != nil {
		r.fault = err.Error()
	} else {
		r.value, r.label, r.time = v, label, at
	}
	switch {
	case !retained:
		r.count++
		r.heard = now
		if at.IsZero() && err == nil {
			r.time = now
		}
	case !at.IsZero() && p.Silence > 0 && now.Sub(at) <= p.Silence:
		r.old, r.heard = "", at
		if at.After(d.heard) {
			d.heard = at
		}
	}
	return true
}

// late is how much older than the last a message may be and still be one of before:
// beyond that the device's clock was set back.
const late = time.Minute

// clockError is how far a device's clock may be ahead of ours.
const clockError = time.Minute

// sourceTime is when the device says that it has measured; zero if it does not
// say it, or something that cannot be.
func (d *Device) sourceTime(doc *document, now time.Time) time.Time {
	if len(d.spec.Time) == 0 {
		return time.Time{}
	}
	raw, there, err := doc.at(d.spec.Time)
	text, ok := word(raw)
	if err != nil || !there || !ok {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		f, err := parseNumber(text)
		switch {
		case err != nil || f < 1e9 || f > 1e14: // before 2001, after 5138
			return time.Time{}
		case f > 1e11:
			f /= 1000
		}
		at = time.UnixMilli(int64(f * 1000))
	}
	if at.After(now.Add(clockError)) {
		return time.Time{}
	}
	return at
}

// read is what the topic says; empty if that is nothing that is known.
func (a *Availability) read(doc *document) (w lastWord) {
	raw, there, err := doc.at(a.Path)
	if err != nil || !there {
		if raw, there, err = doc.at(nil); err != nil || !there {
			return w
		}
	}
	w.text, _ = word(raw)
	w.online, w.known = said(strings.TrimSpace(w.text), a.Online, a.Offline)
	return w
}

func (d *Device) word(i int, w lastWord, retained bool, now time.Time) {
	was := &d.words[i]
	if !w.known || retained && !was.since.IsZero() {
		return
	}
	if !retained {
		w.since = now
		if was.known && was.online == w.online {
			w.since = was.since
		}
	}
	*was = w
	if w.online && !retained {
		d.heard = now
	}
}

// Lose notes that the device cannot be heard any more, and why; empty: it can again.
// What it says meanwhile is missed. It lists the points to publish.
func (d *Device) Lose(why string, now time.Time) []int {
	if why != "" && d.lost == "" {
		clear(d.words)
		for i := range d.points {
			if r := &d.points[i]; r.seen {
				r.old = "from before " + now.Format(time.TimeOnly) + ", when the broker was lost"
			}
		}
	}
	d.lost = why
	return d.due(nil, now)
}

// alive notes that the device has said something: it is there, whatever was said
// of it before.
func (d *Device) alive(now time.Time) {
	d.heard = now
	for i := range d.words {
		if w := &d.words[i]; w.known && !w.online {
			*w = lastWord{known: true, online: true, text: "its own word", since: now}
		}
	}
}

// due lists the points to publish: those that have come, and those that are not
// what they were.
func (d *Device) due(carried []int, now time.Time) []int {
	var list []int
	for i := range d.points {
		r, v := &d.points[i], d.verdict(i, now)
		news := r.told && v != r.said || !r.told && v.quality != "" && v != waiting
		if news || slices.Contains(carried, i) {
			r.said, r.told = v, true
			list = append(list, i)
		}
	}
	return list
}
