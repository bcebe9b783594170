package main

import (
	"runtime"
	"runtime/debug"
	"time"
)

// How much may be allocated until the garbage collector runs again, in percent of
// what lives.
const (
	thrifty = 25  // a gateway is small, and mostly has time
	lavish  = 100 // where much passes: there a thrifty collector would take more time than what there is to do
)

// How often it runs decides which it is.
const (
	hurry   = 200 * time.Millisecond // between two collections is little,
	hurries = 8                      // and so many times in a row too little
	leisure = 2 * time.Second        // is enough to be thrifty again
)

// collector follows the garbage collector.
type collector struct {
	last    time.Time
	hurried int
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
	switch {
	case c.hurried >= hurries:
		c.percent = lavish
	case since > leisure:
		c.percent = thrifty
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

// calm gives back what a rush has taken, when it is over: nothing might be collected for minutes then, and what was allocated so
// lavishly would stay. The collection that goes with it is leisurely, and so the next ones are thrifty.
func (c *collector) calm(percent int) {
	switch {
	case percent != lavish:
	case c.rest == nil:
		c.rest = time.AfterFunc(leisure+hurry, debug.FreeOSMemory)
	default:
		c.rest.Reset(leisure + hurry)
	}
}
