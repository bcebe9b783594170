package dispatch

import "time"

// complainEvery is the least time between two complaints of the same kind.
const complainEvery = time.Minute

// Complaints limits how often the same fault is published as an event: each kind once a minute. The zero Complaints is ready.
type Complaints struct{ all []complaint }

type complaint struct {
	kind   string
	at     time.Duration
	untold uint32
}

// Due says whether a fault of a kind, e.g. "timeout", is to be published now, and how many of the same kind were left out since the last that
// was. now is monotonic.
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
