package wire

import "time"

// again is the least time between two complaints of the same kind.
const again = time.Minute

// Complaints tells which of many complaints are worth an event.
type Complaints struct{ all []complaint }

type complaint struct {
	kind   string
	at     time.Duration
	untold uint32
}

// Due says whether a complaint of a kind, a state of health for instance, is to be told now, and how many of its kind were not since the last
// that was. now is monotonic.
func (c *Complaints) Due(kind string, now time.Duration) (untold uint32, ok bool) {
	for i := range c.all {
		one := &c.all[i]
		switch {
		case one.kind != kind:
			continue
		case now-one.at < again:
			one.untold++
			return 0, false
		}
		untold, one.untold, one.at = one.untold, 0, now
		return untold, true
	}
	c.all = append(c.all, complaint{kind: kind, at: now})
	return 0, true
}
