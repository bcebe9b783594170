package sensor

import (
	"slices"
	"strings"
	"time"
)

// Spec describes a device. {device} in topics has been replaced.
type Spec struct {
	Points       []Point
	Availability []Availability
	Commands     []Command
	Silence      time.Duration // of the whole device; 0: unlimited
	Time         Path          // of the source time in messages; empty: none
	MaxPayload   int           // bytes
}

// Availability is a topic that says whether the device is online.
type Availability struct {
	Topic           string
	Path            Path
	Online, Offline []string
}

// Topics returns all topics of the device.
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

// Device is the state derived from the messages of a device. Its owner passes in messages and the
// time.
type Device struct {
	spec   Spec
	began  time.Time
	heard  time.Time // last message that was not retained; zero: none
	points []reading
	words  []lastWord // of Availability
	lost   string     // why nothing can be received; empty: it can
}

// reading is the state of one point.
type reading struct {
	seen     bool   // in some message
	retained bool   // the last message was retained
	old      string // why the age of the value is unknown; empty: it is known
	heard    time.Time
	count    uint64 // messages that were not retained
	value    Value
	label    string
	time     time.Time // source time of value; zero: unknown
	fault    string    // why the last message had no value

	said verdict // as published last
	told bool    // it was published
}

type lastWord struct {
	known, online bool
	text          string
	since         time.Time // zero: before the subscription
}

// NewDevice returns a device from which nothing has been received.
func NewDevice(spec Spec, now time.Time) *Device {
	return &Device{spec: spec, began: now, points: make([]reading, len(spec.Points)), words: make([]lastWord, len(spec.Availability))}
}

// Message is one publish.
type Message struct {
	Topic    string
	Payload  []byte
	Retained bool // it is a retained message, not a new one
}

// Receive handles a message and returns the points to publish. An empty payload is ignored: it only
// removes a retained message.
func (d *Device) Receive(m Message, now time.Time) []int {
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

// take reads one point. It returns false if the message has no new value of it.
func (d *Device) take(i int, doc *document, at time.Time, retained bool, now time.Time) bool {
	p, r := &d.spec.Points[i], &d.points[i]
	v, label, there, err := p.read(doc)
	switch {
	case !there, retained && r.count > 0 && r.old == "":
		return false
	case !at.IsZero() && r.fault == "" && r.old == "" && r.time.Sub(at) < late && (at.Before(r.time) || at.Equal(r.time) && err == nil && v == r.value):
		// An older message that was delayed, or a repetition with the same source time in seconds.
		return false
	}
	r.seen, r.retained, r.old, r.fault = true, retained, "", ""
	if retained {
		r.old = "retained message of unknown age"
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

// late is how much older than the previous message a message may be and still count as delayed.
// Beyond that the device's clock was set back.
const late = time.Minute

// clockError is how far a device's clock may be ahead of ours.
const clockError = time.Minute

// sourceTime returns the time of measurement given by the device; zero if there is none, or an
// impossible one.
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

// read returns the state in a payload; empty if it is unknown.
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

// ConnectionLost notes that nothing can be received any more, and why; empty: it can be again.
// Messages in between are missed. It returns the points to publish.
func (d *Device) ConnectionLost(why string, now time.Time) []int {
	if why != "" && d.lost == "" {
		clear(d.words)
		for i := range d.points {
			if r := &d.points[i]; r.seen {
				r.old = "from before " + now.Format(time.TimeOnly) + ", when the connection to the broker was lost"
			}
		}
	}
	d.lost = why
	return d.due(nil, now)
}

// alive notes that the device has published something, so it is online whatever its availability
// said before.
func (d *Device) alive(now time.Time) {
	d.heard = now
	for i := range d.words {
		if w := &d.words[i]; w.known && !w.online {
			*w = lastWord{known: true, online: true, text: "its own word", since: now}
		}
	}
}

// due returns the points to publish: those in the message, and those that have changed.
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
