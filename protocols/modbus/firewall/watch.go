package firewall

import "time"

// Watch is a dead-man's switch. It trips once the controller it watches has been silent for too
// long, and stays tripped until it is released. It has no clock; the times passed to it must not go
// backwards.
type Watch struct {
	Silence time.Duration // how long the controller may be silent
	last    time.Time     // when it was last heard
	tripped bool
}

// NewWatch starts watching: the controller must be heard for the first time within silence.
func NewWatch(silence time.Duration, now time.Time) Watch { return Watch{Silence: silence, last: now} }

// SignOfLife records a sign of life. One that comes too late has no effect.
func (w *Watch) SignOfLife(now time.Time) {
	if !w.tripped && now.Sub(w.last) < w.Silence {
		w.last = now
	}
}

// Check reports whether the switch trips now, and how long to wait until the next Check; 0 while it
// is tripped.
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

// Trip trips the switch now, or restores that it had tripped.
func (w *Watch) Trip() { w.tripped = true }

// Tripped reports whether the switch has tripped and has not been released since.
func (w *Watch) Tripped() bool { return w.tripped }

// Release starts watching again.
func (w *Watch) Release(now time.Time) { w.tripped, w.last = false, now }

// Last returns when the controller was last heard.
func (w *Watch) Last() time.Time { return w.last }

// Patterns matches texts against a list of patterns, as in rules. An empty list matches everything.
type Patterns struct{ match func(string) bool }

// NewPatterns compiles patterns.
func NewPatterns(all []string) Patterns {
	if re := patterns(all); re != nil {
		return Patterns{re.MatchString}
	}
	return Patterns{func(string) bool { return true }}
}

// Match reports whether s matches.
func (p Patterns) Match(s string) bool { return p.match(s) }
