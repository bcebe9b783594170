package daemon

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Values of GOGC: how much may be allocated before the next garbage collection, in percent of the
// live heap.
const (
	thrifty = 25  // a gateway is small and mostly idle
	steady  = 50  // where so much is polled that thrifty would collect every second
	lavish  = 100 // under heavy load, where thrifty would spend more time on collecting than on the work itself
)

// The time between collections decides which value is used. A rush begins after hurries collections
// in a row that are at most hurry apart, and ends when two are more than leisure apart. Steady load
// begins after strides collections in a row at most stride apart, and ends when two are more than
// repose apart.
const (
	hurry   = 200 * time.Millisecond
	hurries = 8
	leisure = 2 * time.Second
	stride  = 1500 * time.Millisecond
	strides = 3
	repose  = 5 * time.Second
)

// collector adapts GOGC to the frequency of garbage collections.
type collector struct {
	last    time.Time
	hurried int // consecutive collections at most hurry apart
	brisk   int // consecutive collections at most stride apart
	percent int
	rest    *time.Timer // returns memory to the system after a load; nil until the first one
}

// collected notes a collection and returns the GOGC value for the next ones.
func (c *collector) collected(now time.Time) (percent int) {
	since := now.Sub(c.last)
	c.last = now
	if c.hurried++; since > hurry {
		c.hurried = 0
	}
	if c.brisk++; since > stride {
		c.brisk = 0
	}
	switch {
	case c.hurried >= hurries:
		c.percent = lavish
	case since > repose, c.percent == lavish && since > leisure:
		c.percent, c.brisk = thrifty, 0
	case c.percent == thrifty && c.brisk >= strides:
		c.percent = steady
	}
	return c.percent
}

// fleeting is garbage as soon as it is allocated: its cleanup shows that a collection has run.
type fleeting struct{ _ [16]byte }

// follow starts to watch collections. It costs nothing between them.
func (c *collector) follow() {
	runtime.AddCleanup(&fleeting{}, func(c *collector) {
		was := c.percent
		now := c.collected(time.Now())
		if now != was {
			debug.SetGCPercent(now)
		}
		c.calm(now)
		c.follow()
	}, c)
}

// calm schedules the return of memory to the system for when the load is over: there may be no
// collection for minutes then, and memory allocated during the load would stay. The collection this
// forces comes late after the one before, so the next ones are thrifty.
func (c *collector) calm(percent int) {
	over := leisure + hurry
	switch percent {
	case thrifty:
		return
	case steady:
		over = repose + hurry
	}
	if c.rest == nil {
		c.rest = time.AfterFunc(over, debug.FreeOSMemory)
		return
	}
	c.rest.Reset(over)
}
