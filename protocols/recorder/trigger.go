package recorder

import (
	"time"

	"gatewayd/protocols/record"
)

// A Trigger passes records only around an event.
type Trigger struct {
	// Start and Stop evaluate the values of the fields; known is false if they do not suffice.
	// Without Stop, recording ends when Start is no longer true.
	Start, Stop func(value func(name string) (record.Value, bool)) (yes, known bool)
	Cause       string        // cause of the first record, e.g. the text of the expression
	Before      time.Duration // history that is recorded with it
	After       time.Duration // how long recording continues after the end
	// If > 0: every value is recorded for this long, whatever the policies; Stop and After are not
	// used.
	Burst time.Duration
}

// maxHistory limits the number of records kept as history.
const maxHistory = 4096

// gate is the state of a trigger.
type gate struct {
	trigger *Trigger
	open    bool
	armed   bool          // it may open: Start has been false since a burst
	ending  bool          // it closes at until
	until   time.Duration // end of a burst, or of After
	history []record.Record
}

func newGate(t *Trigger) gate { return gate{trigger: t, open: t == nil, armed: true} }

// bursting reports whether every value is to be recorded, or kept as history of a burst.
func (g *gate) bursting() bool { return g.trigger != nil && g.trigger.Burst > 0 }

func (g *gate) closes() (time.Duration, bool) { return g.until, g.trigger != nil && g.open && g.ending }

// judge opens or closes the gate, and reports whether it has just opened.
func (r *Recorder) judge(now Moment) bool {
	g := &r.gate
	t := g.trigger
	if t == nil {
		return false
	}
	start, known := t.Start(r.lookup)
	start = start && known
	if !start {
		g.armed = true
	}
	if !g.open {
		if !start || !g.armed {
			return false
		}
		r.trigger(now)
		return true
	}
	if t.Burst == 0 {
		stop := !start
		if t.Stop != nil {
			yes, known := t.Stop(r.lookup)
			stop = yes && known
		}
		switch {
		case !stop:
			g.ending = false
		case !g.ending:
			g.ending, g.until = true, now.Uptime+t.After
		}
	}
	if g.ending && now.Uptime >= g.until {
		g.open, g.ending = false, false
		r.news = append(r.news, Released)
	}
	return false
}

// trigger opens the gate; the history is recorded first.
func (r *Recorder) trigger(now Moment) {
	g := &r.gate
	g.open, g.armed, g.ending = true, false, false
	if g.trigger.Burst > 0 {
		g.ending, g.until = true, now.Uptime+g.trigger.Burst
	}
	for i := range g.history {
		if now.Uptime-g.history[i].Uptime <= g.trigger.Before {
			r.out = append(r.out, g.history[i])
		}
	}
	g.history = nil
	r.news = append(r.news, Triggered)
	all := record.Record{Time: now.Wall, Uptime: now.Uptime, Trusted: now.Trusted, Cause: g.trigger.Cause}
	for _, f := range r.fields {
		if f.known {
			all.Fields = append(all.Fields, f.now())
			f.note(now.Uptime)
		}
	}
	r.out = append(r.out, all)
}

// lookup returns the value of a field by name, if it is good.
func (r *Recorder) lookup(name string) (record.Value, bool) {
	for _, f := range r.fields {
		if f.Name == name {
			return f.value, f.known && f.quality == ""
		}
	}
	return nil, false
}

// emit returns a record, or keeps it as history while the gate is closed. Records of absence always
// pass.
func (r *Recorder) emit(one record.Record) {
	g := &r.gate
	if g.open || one.Absent {
		r.out = append(r.out, one)
		return
	}
	if g.trigger.Before <= 0 {
		return
	}
	old := 0
	for old < len(g.history) && (one.Uptime-g.history[old].Uptime > g.trigger.Before || len(g.history)-old >= maxHistory) {
		old++
	}
	g.history = append(g.history[old:], one)
}
