package schedule

import "time"

// hold keeps silent units off the line for the sake of the others, after one of them took its part of it.
type hold struct {
	until time.Duration // at most
	span  time.Duration // how long it is altogether
	end   time.Duration // as last weighed: a line that nobody else needs is free sooner
}

// extend holds on from now for span, if that is longer than what is left.
func (h *hold) extend(now, span time.Duration) {
	if until := after(now, span); until > h.until {
		h.until, h.span = until, span
	}
}

// weigh says when a hold ends, as far as can be told now.
func (q *Queue[P]) weigh(h *hold, now time.Duration) {
	h.end = 0
	if now >= h.until {
		return
	}
	for c := Write; c < Probe; c++ {
		for _, id := range q.lanes[c].turns {
			if u := q.units.Of(id); u == nil || !u.silent {
				h.end = h.until
				return
			}
		}
	}
	for _, u := range q.units.All() {
		if !u.silent {
			h.end = max(h.end, after(u.last, h.span))
		}
	}
	h.end = min(h.end, h.until)
}
