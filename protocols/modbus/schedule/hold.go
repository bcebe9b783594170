package schedule

import "time"

// hold keeps silent units off the line for the benefit of the others, after one of them has used
// its share of it.
type hold struct {
	until time.Duration // the latest end
	span  time.Duration // total duration
	end   time.Duration // the end as last computed: earlier than until if no other unit needs the line
}

// extend extends the hold to now plus span if that is later than its end.
func (h *hold) extend(now, span time.Duration) {
	if until := after(now, span); until > h.until {
		h.until, h.span = until, span
	}
}

// weigh computes when a hold ends, as far as it is known now.
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
