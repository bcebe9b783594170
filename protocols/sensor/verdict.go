package sensor

import (
	"fmt"
	"time"
)

// verdict is the quality of a point's value, and the reason.
type verdict struct{ quality, cause string }

const (
	stale = "stale"
	bad   = "bad"
)

// waiting is the verdict on a point that has not been received and may still come.
var waiting = verdict{stale, "not received yet"}

// Sample is a point as it is published.
type Sample struct {
	Value          Value
	Label          string
	Quality, Cause string
	Time           time.Time // source time of the value; zero: unknown
}

// Sample returns the present state of a point.
func (d *Device) Sample(i int, now time.Time) Sample {
	r, v := &d.points[i], d.verdict(i, now)
	return Sample{r.value, r.label, v.quality, v.cause, r.time}
}

func (d *Device) verdict(i int, now time.Time) verdict {
	p, r := &d.spec.Points[i], &d.points[i]
	if p.Optional && !r.seen {
		return waiting
	}
	if away := d.OfflineCause(); away != "" {
		return verdict{stale, away}
	}
	switch {
	case d.silent(now):
		return verdict{stale, "silent for " + d.spec.Silence.String()}
	case p.Silence > 0 && now.Sub(d.last(i)) >= p.Silence && r.old == "":
		return verdict{stale, "no message with this point for " + p.Silence.String()}
	case !r.seen:
		return waiting
	case r.fault != "":
		return verdict{bad, r.fault}
	case r.old != "" && (p.Silence > 0 || !d.online() || !r.retained):
		return verdict{stale, r.old}
	}
	return verdict{}
}

// last returns when a point was last received, or when waiting for it began.
func (d *Device) last(i int) time.Time {
	if at := d.points[i].heard; !at.IsZero() {
		return at
	}
	return d.began
}

// OfflineCause returns why the device is known to be offline; empty: it is not.
func (d *Device) OfflineCause() string {
	if d.lost != "" {
		return d.lost
	}
	for i, w := range d.words {
		if !w.known || w.online {
			continue
		}
		topic := d.spec.Availability[i].Topic
		if w.since.IsZero() {
			return fmt.Sprintf("offline: %s says %s", topic, excerpt(w.text))
		}
		return fmt.Sprintf("offline since %s: %s says %s", w.since.Format(time.TimeOnly), topic, excerpt(w.text))
	}
	return ""
}

// online reports whether the device is known to be online.
func (d *Device) online() bool {
	for _, w := range d.words {
		if !w.known || !w.online {
			return false
		}
	}
	return len(d.words) > 0
}

func (d *Device) silent(now time.Time) bool {
	at := d.heard
	if at.IsZero() {
		at = d.began
	}
	return d.spec.Silence > 0 && now.Sub(at) >= d.spec.Silence
}

// Due returns when Tick has something to do if no message comes before; zero: never.
func (d *Device) Due(now time.Time) (at time.Time) {
	earlier := func(t time.Time) {
		if t.After(now) && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	if d.spec.Silence > 0 {
		if d.heard.IsZero() {
			earlier(d.began.Add(d.spec.Silence))
		} else {
			earlier(d.heard.Add(d.spec.Silence))
		}
	}
	for i := range d.spec.Points {
		if s := d.spec.Points[i].Silence; s > 0 {
			earlier(d.last(i).Add(s))
		}
	}
	return at
}

// Tick returns the points to publish because time has passed.
func (d *Device) Tick(now time.Time) []int { return d.due(nil, now) }

// Health is the health of the device.
type Health uint8

// Health values.
const (
	Well Health = iota
	Struggling
	Unreachable
)

// Health returns the health of the device, and why it is not well.
func (d *Device) Health(now time.Time) (Health, string) {
	if away := d.OfflineCause(); away != "" {
		return Unreachable, away
	}
	switch {
	case d.silent(now) && d.heard.IsZero():
		return Unreachable, "no message for " + d.spec.Silence.String()
	case d.silent(now):
		return Unreachable, "silent since " + d.heard.Format(time.TimeOnly)
	case d.heard.IsZero() && !d.online():
		return Unreachable, "no message yet"
	}
	wrong, of, first := 0, 0, ""
	for i := range d.points {
		v := d.verdict(i, now)
		if v == waiting {
			continue
		}
		of++
		if v.quality == "" {
			continue
		}
		if wrong++; first == "" {
			first = d.spec.Points[i].Name + ": " + v.cause
		}
	}
	switch {
	case wrong == 0:
		return Well, ""
	case wrong == 1:
		return Struggling, first
	}
	return Struggling, fmt.Sprintf("%d of %d points: %s", wrong, of, first)
}
