package firewall

import "time"

// Watch is a dead-man's switch: it trips once when the controller it watches has been silent for too long, and stays tripped until
// it is released. It knows no clock; its times must not go backwards.
type Watch struct {
	Silence time.Duration // how long the controller may be silent
	last    time.Time     // when it was last heard
	tripped bool
}

// NewWatch begins to watch: the controller has Silence to be heard for the first time.
func NewWatch(silence time.Duration, now time.Time) Watch { return Watch{Silence: silence, last: now} }

// Hear notes a sign of life. One that comes too late changes nothing.
func (w *Watch) Hear(now time.Time) {
	if !w.tripped && now.Sub(w.last) < w.Silence {
		w.last = now
	}
}

// Check says whether the switch trips now, and how long to wait until the next Check; 0 while it is tripped.
func (w *Watch) Check(now time.Time) (trips bool, next time.Duration) {
	left := w.Silence - now.Sub(w.last)
	if w.tripped {
		return false, 0
	}
	if left > 0 {
		return false, left
	}
	w.tripped = true
	return true, 0
}

// Trip trips it now, or notes that it had.
func (w *Watch) Trip() { w.tripped = true }

// Tripped says whether it has tripped and was not released since.
func (w *Watch) Tripped() bool { return w.tripped }

// Release begins to watch anew.
func (w *Watch) Release(now time.Time) { w.tripped, w.last = false, now }

// Last is when the controller was last heard.
func (w *Watch) Last() time.Time { return w.last }

// Patterns tells whether a text matches one of some patterns, as in rules. None match everything.
type Patterns struct{ match func(string) bool }

// NewPatterns compiles patterns.
func NewPatterns(all []string) Patterns {
	if re := patterns(all); re != nil {
		return Patterns{re.MatchString}
	}
	return Patterns{func(string) bool { return true }}
}

// Match says whether s matches.
func (p Patterns) Match(s string) bool { return p.match(s) }
