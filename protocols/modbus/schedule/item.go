// Package schedule decides, for a line or link shared by many units, which request goes next
// (Queue), and for one unit, how long to wait for its answer and when to leave it alone (Breaker).
// Both are state machines without clock, goroutine or I/O: the time is an argument, counted on the
// monotonic clock from a fixed moment in the past and never negative, so that steps of the wall
// clock change nothing. Neither is safe for concurrent use; each belongs to one actor.
package schedule

import "time"

// Class is the urgency of a request.
type Class uint8

// The classes, most urgent first.
const (
	Write       Class = iota // changes the unit
	Interactive              // a caller waits for the answer
	Poll                     // the unit's own schedule
	Shed                     // a poll the line has no time for: it is sent when nothing else can be, and has a small share of the line
	Probe                    // asks a silent unit whether it is back
	classes
)

// String returns the class in lower case.
func (c Class) String() string {
	switch c {
	case Write:
		return "write"
	case Interactive:
		return "interactive"
	case Poll:
		return "poll"
	case Shed:
		return "shed"
	case Probe:
		return "probe"
	}
	return "unknown"
}

// Item is one transaction that waits for the line.
type Item[P any] struct {
	Unit     uint8
	Class    Class
	Key      string        // a poll or probe replaces a waiting one with the same unit and key; empty: never
	Deadline time.Duration // from this moment on it is no longer wanted; 0: never
	Due      time.Duration // within a class, of the items that can be sent, the earliest goes first
	Rest     time.Duration // how long the unit must be left alone after this transaction
	Payload  P
}

// Outcome is how a transaction ended.
type Outcome uint8

// The outcomes.
const (
	Answered  Outcome = iota // a valid answer
	Exception                // a valid exception: the unit is alive. Exceptions 10 and 11 of a gateway are NoAnswer instead
	NoAnswer                 // nothing was received in time
	Garbled                  // something was received that is not a valid answer: wrong CRC, truncated
	Late                     // an answer arrived after its request was given up and counted as NoAnswer
	NotSent                  // it was never sent (port closed, expired): says nothing about the unit
)

// String returns the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case Answered:
		return "answered"
	case Exception:
		return "exception"
	case NoAnswer:
		return "no answer"
	case Garbled:
		return "garbled"
	case Late:
		return "late"
	case NotSent:
		return "not sent"
	}
	return "unknown"
}

// Verdict is the result of Push.
type Verdict uint8

// The verdicts.
const (
	Refused Verdict = iota // its class is full
	Queued
	Merged // it replaced the item that Push returns
)
