// Package recorder decides which of the incoming values become records of a track: on a change, in
// periods, on demand, or around an event. It also detects that nothing comes in. It is pure: it has
// no clock and uses the monotonic time that it is given, so that steps of the wall clock affect
// only the times in the records. It neither numbers nor stores records.
package recorder

import (
	"slices"
	"time"

	"gatewayd/protocols/record"
)

// A Moment is a point in time by both clocks.
type Moment struct {
	Uptime  time.Duration // since boot; never goes back
	Wall    time.Time     // as shown by the wall clock
	Trusted bool          // the wall clock is known to be right
}

// before returns the moment d before m.
func (m Moment) before(d time.Duration) Moment {
	return Moment{Uptime: m.Uptime - d, Wall: m.Wall.Add(-d), Trusted: m.Trusted}
}

// Policy says when a field is recorded.
type Policy string

// Policies.
const (
	OnChange         Policy = "on-change"          // when it has changed by more than the deadband
	Periodic         Policy = "periodic"           // once per period, resampled
	PeriodicOnChange Policy = "periodic-on-change" // on change, and at least once per period
	Manual           Policy = "manual"             // on request
)

// Field is one field of a track.
type Field struct {
	Name     string
	ID       uint32
	Unit     string
	Policy   Policy
	Absolute float64 // deadband in the unit of the field
	Percent  float64 // deadband in percent of the last recorded value; the larger one counts
	// Between two changes; an earlier one is recorded when the interval is over.
	MinInterval time.Duration
	Period      time.Duration
	Resample    Resample // for Periodic
}

// Config configures a recorder.
type Config struct {
	Fields   []Field
	Activity time.Duration // silence after which absence is recorded; 0: never
	Trigger  *Trigger      // nil: always record
}

// A Value is the present value of a field.
type Value struct {
	Field   int // index in the config, or as returned by Add
	Value   record.Value
	Quality string
	Cause   string
}

// News is an event other than a record.
type News uint8

// News.
const (
	Silent    News = iota + 1 // nothing has been received for longer than allowed
	Heard                     // that is over
	Triggered                 // the trigger starts recording
	Released                  // it stops recording
)

// Recorder is the state of one track.
type Recorder struct {
	cfg    Config
	fields []*field

	latest time.Duration // time of the last values
	// When a device was last heard, or the start: stale values come from its actor, not from the
	// device.
	heard  time.Duration
	silent bool
	out    []record.Record
	news   []News
	gate   gate
}

// field is the state of one field.
type field struct {
	Field
	known   bool
	value   record.Value
	quality string
	cause   string

	recorded    bool
	last        record.Value
	lastQuality string
	lastAt      time.Duration
	held        bool          // a change waits for the interval to pass
	due         time.Duration // end of the present period
	sum         accumulator
}

// New returns a recorder that starts at a moment.
func New(cfg Config, now Moment) *Recorder {
	r := &Recorder{cfg: cfg, latest: now.Uptime, heard: now.Uptime, gate: newGate(cfg.Trigger)}
	for _, f := range cfg.Fields {
		r.Add(f, now)
	}
	return r
}

// Add adds a field, for a point that has appeared, and returns its index.
func (r *Recorder) Add(f Field, now Moment) int {
	one := &field{Field: f, sum: accumulator{from: now.Uptime}}
	if f.Policy == Periodic {
		one.due = aligned(now, f.Period)
	}
	r.fields = append(r.fields, one)
	return len(r.fields) - 1
}

// shortest is the shortest period.
const shortest = time.Millisecond

// aligned returns the next moment, by the monotonic clock, at which the wall clock shows a multiple
// of the period. After a step of the wall clock it is at least half a period away.
func aligned(now Moment, period time.Duration) time.Duration {
	period = max(period, shortest)
	into := time.Duration(now.Wall.UnixNano() % int64(period))
	if into < 0 {
		into += period
	}
	return now.Uptime + period - into
}

// following returns the boundary after the one at due.
func following(due time.Duration, now Moment, period time.Duration) time.Duration {
	next := aligned(now, period)
	if next-due < period/2 {
		next += period
	}
	return next
}

// Take handles values that were read together at a moment, and returns the records they cause.
func (r *Recorder) Take(at Moment, values []Value) ([]record.Record, []News) {
	r.begin()
	at.Uptime = max(at.Uptime, r.latest) // of two sources one may be slower
	r.latest = at.Uptime
	r.periods(at) // periods that ended before do not include these values
	if slices.ContainsFunc(values, func(v Value) bool { return v.Quality != "stale" }) {
		r.heard = at.Uptime
		if r.silent {
			r.silent = false
			r.news = append(r.news, Heard)
		}
	}
	var due []int
	for _, v := range values {
		f := r.fields[v.Field]
		f.sum.until(at.Uptime, f.value, f.known && f.quality == "")
		f.known, f.value, f.quality, f.cause = true, v.Value, v.Quality, v.Cause
		f.sum.take(v.Value, v.Quality == "")
		if f.changed(at.Uptime) {
			due = append(due, v.Field)
		}
	}
	if r.judge(at) {
		return r.end() // its record includes all of them
	}
	if r.gate.bursting() {
		due = due[:0]
		for _, v := range values {
			due = append(due, v.Field)
		}
	}
	r.record(at, due, "")
	return r.end()
}

// Tick does what is due because time has passed.
func (r *Recorder) Tick(now Moment) ([]record.Record, []News) {
	r.begin()
	if r.cfg.Activity > 0 && !r.silent && now.Uptime-r.heard >= r.cfg.Activity {
		r.silent = true
		r.news = append(r.news, Silent)
		r.emit(record.Record{Time: now.Wall, Uptime: now.Uptime, Trusted: now.Trusted, Absent: true, Cause: "nothing received for " + r.cfg.Activity.String()})
	}
	_ = r.judge(now)
	var due []int
	for i, f := range r.fields {
		if f.ripe(now.Uptime) {
			due = append(due, i)
		}
	}
	r.record(now, due, "")
	r.periods(now)
	return r.end()
}

// maxLate is the number of overdue periods for which each gets its record; if there are more, only
// the last one does.
const maxLate = 1000

// periods records the periods that have ended. Each boundary gets a record of its own, even if
// several have passed.
func (r *Recorder) periods(now Moment) {
	for {
		end, any := now.Uptime, false
		for _, f := range r.fields {
			if f.Policy == Periodic && f.due <= end {
				end, any = f.due, true
			}
		}
		if !any {
			return
		}
		at := now.before(now.Uptime - end)
		var fields []record.Field
		for _, f := range r.fields {
			if f.Policy != Periodic || f.due != end {
				continue
			}
			if v, ok := f.period(end); ok {
				fields = append(fields, v)
			}
			f.due = f.after(end, now)
		}
		if len(fields) > 0 {
			r.emit(record.Record{Time: at.Wall, Uptime: at.Uptime, Trusted: at.Trusted, Fields: fields})
		}
	}
}

// after returns the boundary after the one at end: one that has passed as well, or the next by the
// wall clock.
func (f *field) after(end time.Duration, now Moment) time.Duration {
	period := max(f.Period, shortest)
	switch passed := (now.Uptime - end) / period; {
	case passed > maxLate:
		return end + passed*period
	case passed > 0:
		return end + period
	}
	return following(end, now, f.Period)
}

// Record records all fields on request.
func (r *Recorder) Record(now Moment, cause string) []record.Record {
	r.begin()
	var all []record.Field
	for _, f := range r.fields {
		if f.known {
			all = append(all, f.now())
			f.note(now.Uptime)
		}
	}
	r.out = append(r.out, record.Record{Time: now.Wall, Uptime: now.Uptime, Trusted: now.Trusted, Fields: all, Cause: cause})
	out, _ := r.end()
	return out
}

// record records these fields.
func (r *Recorder) record(at Moment, due []int, cause string) {
	if len(due) == 0 {
		return
	}
	fields := make([]record.Field, 0, len(due))
	for _, i := range due {
		fields = append(fields, r.fields[i].now())
		r.fields[i].note(at.Uptime)
	}
	r.emit(record.Record{Time: at.Wall, Uptime: at.Uptime, Trusted: at.Trusted, Fields: fields, Cause: cause})
}

func (r *Recorder) begin() { r.out, r.news = nil, nil }

func (r *Recorder) end() ([]record.Record, []News) {
	out, news := r.out, r.news
	r.out, r.news = nil, nil
	return out, news
}

// Next returns when Tick has something to do; ok is false if nothing is due by time alone.
func (r *Recorder) Next() (at time.Duration, ok bool) {
	sooner := func(d time.Duration) {
		if !ok || d < at {
			at, ok = d, true
		}
	}
	if r.cfg.Activity > 0 && !r.silent {
		sooner(r.heard + r.cfg.Activity)
	}
	if until, closes := r.gate.closes(); closes {
		sooner(until)
	}
	for _, f := range r.fields {
		switch {
		case f.Policy == Periodic:
			sooner(f.due)
		case f.held:
			sooner(f.lastAt + f.MinInterval)
		case f.Policy == PeriodicOnChange && f.recorded:
			sooner(f.lastAt + max(f.Period, shortest))
		}
	}
	return at, ok
}
