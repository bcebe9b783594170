package dispatch

import "time"

// eventInterval is the minimum time between two events for the same kind of fault.
const eventInterval = time.Minute

// EventLimiter limits how often the same fault is published as an event: each kind once a minute.
// The zero value is ready to use.
type EventLimiter struct{ all []limitedEvent }

type limitedEvent struct {
	kind   string
	at     time.Duration
	untold uint32
}

// Allow reports whether a fault of a kind, for instance "timeout", is to be published now. untold
// is the number of faults of that kind suppressed since the last one published. now is monotonic.
func (c *EventLimiter) Allow(kind string, now time.Duration) (untold uint32, ok bool) {
	for i := range c.all {
		one := &c.all[i]
		switch {
		case one.kind != kind:
			continue
		case now-one.at < eventInterval:
			one.untold++
			return 0, false
		}
		untold, one.untold, one.at = one.untold, 0, now
		return untold, true
	}
	c.all = append(c.all, limitedEvent{kind: kind, at: now})
	return 0, true
}
