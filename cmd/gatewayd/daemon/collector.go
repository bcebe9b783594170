package daemon

import (
	"runtime"
	"runtime/debug"
	"time"
)

// How much may be allocated until the garbage collector runs again, in percent of
// what lives.
const (
	thrifty = 25  // a gateway is small, and mostly has time
	steady  = 50  // where so much is polled that a thrifty collector would run each second
	lavish  = 100 // where much passes: there a thrifty collector would take more time than what there is to do
)

// How often it runs decides which it is.
const (
	hurry   = 200 * time.Millisecond // between two collections is little, and
	hurries = 8                      // so many times in a row a rush, until between two is more than
	leisure = 2 * time.Second
	stride  = 1500 * time.Millisecond // between two is more than thrift is worth,
	strides = 3                       // so many times in a row, until between two is more than
	repose  = 5 * time.Second
)

// collector follows the garbage collector.
type collector struct {
	last    time.Time
	hurried int // in a row within hurry
	brisk   int // in a row within stride
	percent int
	rest    *time.Timer // of the memory of a rush; nil until the first
}

// collected notes a collection and returns how the next ones are to be.
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

// fleeting is garbage at once: its end tells that there was a collection.
type fleeting struct{ _ [16]byte }

// follow costs nothing between collections.
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

// calm gives back what much work has taken, when it is over: nothing might be collected for minutes then, and what was allocated so
// freely would stay. The collection that goes with it comes late, and so the next ones are thrifty.
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
