package dispatch

import "time"

// complainEvery is the minimum time between two events for the same kind of fault.
const complainEvery = time.Minute

// Complaints limits how often the same fault is published as an event: each kind once a minute. The
// zero value is ready to use.
type Complaints struct{ all []complaint }

type complaint struct {
	kind   string
	at     time.Duration
	untold uint32
}

// Due reports whether a fault of a kind, for instance "timeout", is to be published now. untold is
// the number of faults of that kind suppressed since the last one published. now is monotonic.
func (c *Complaints) Due(kind string, now time.Duration) (untold uint32, ok bool) {
	for i := range c.all {
		one := &c.all[i]
		switch {
		case one.kind != kind:
			continue
		case now-one.at < complainEvery:
			one.untold++
			return 0, false
		}
		untold, one.untold, one.at = one.untold, 0, now
		return untold, true
	}
	c.all = append(c.all, complaint{kind: kind, at: now})
	return 0, true
}
