// Package wire is what a unit and the line or link it hangs on have to say to
// each other, and what every kind of line or link does with it: it queues the
// requests of many units, elects the next, carries it out in a worker and tells
// the asker. It opens nothing and knows no clock: an actor brings the port, the
// connection and the time.
package wire

import (
	"errors"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// Ask is the message by which a unit asks its line or link for transactions
// with one unit. Nobody changes it once it is sent, but who has the answer and is
// done with that may send it anew: it brings along the room for the next one.
type Ask struct {
	Class    schedule.Class
	Key      string        // a newer poll or probe with the same key takes the place of one that still waits; empty: never
	Rest     time.Duration // how long the unit must be left alone after each transaction
	Expires  time.Time     // what is not sent by then is not sent at all; zero: never
	Requests []modbus.Request
	// Timeouts says how long a request waits for its answer that comes after so
	// many unanswered ones of this Ask in a row. When the last has run out the rest
	// is not sent. Empty: the link's own timeout for all.
	Timeouts []time.Duration
	Search   bool // nobody knows whether the unit exists: its silence says nothing about the line, and is not counted
	Tag      any  // of the asker; not looked at
	// Load is all that the asker asks for regularly, and Group the one of its groups that this poll reads; nil: nothing.
	Load  *budget.Unit
	Group int

	job *job // that it was last; nil: none
}

// PollKey is the Key of a group's polls.
func PollKey(unit, group string) string { return unit + " " + group }

// Answer is what comes back, once, when all requests have ended.
type Answer struct {
	Ask     *Ask
	Results []Result    // one per request
	Tap     *modbus.Tap // of the line or link, which knows what has passed; nil: nobody does
	// Shed is why the polls of this group have lost their rhythm; empty: they have not.
	Shed string
}

// Result is how one request ended.
type Result struct {
	modbus.Response
	Err     error // nil, *modbus.Exception, *Down, or what package modbus says
	Outcome schedule.Outcome
	Took    time.Duration // from the end of the request on the wire to the beginning of the answer
	At      time.Time     // when it ended
}

// Unsure says whether the request may have gone out and nothing is known of
// what became of it: not so if the unit has refused it, or nothing was sent.
func (r *Result) Unsure() bool {
	return r.Err != nil && r.Outcome != schedule.Exception && !r.unsent()
}

func (r *Result) unsent() bool {
	var down *Down
	var dropped *unsent
	return errors.As(r.Err, &down) || errors.As(r.Err, &dropped) || modbus.NotSent(r.Err)
}

// Busy says whether nothing was sent because the link had too much else to do.
func (r *Result) Busy() bool { return errors.Is(r.Err, errExpired) || errors.Is(r.Err, errFull) }

// Down is why nothing can be sent at all: the line is unplugged, the connection
// refused.
type Down struct{ Cause string }

func (d *Down) Error() string { return d.Cause }

// unsent is why the desk has not sent a request.
type unsent struct {
	why   string
	cause error
}

func (u *unsent) Error() string { return u.why }
func (u *unsent) Unwrap() error { return u.cause }

var (
	errGivenUp  = &unsent{why: "no answer to the requests before"}
	errReplaced = &unsent{why: "replaced by a newer one"}
	errExpired  = &unsent{why: "the line was busy for too long"}
	errFull     = &unsent{why: "too many requests wait already"}
)

// outcome classifies what modbus.Link.Do returned.
func outcome(err error) schedule.Outcome {
	if err == nil {
		return schedule.Answered
	}
	var e *modbus.Exception
	switch {
	case errors.As(err, &e):
		if e.Code == modbus.GatewayPath || e.Code == modbus.GatewayTarget {
			return schedule.NoAnswer
		}
		return schedule.Exception
	case modbus.NotSent(err):
		return schedule.NotSent
	case errors.Is(err, modbus.ErrCorrupt), errors.Is(err, modbus.ErrMismatch):
		return schedule.Garbled
	case errors.Is(err, modbus.ErrTimeout), modbus.LinkLost(err):
		return schedule.NoAnswer
	}
	return schedule.NotSent
}
