// Package schedule decides, for a line or link that many units share, which request goes next (Queue), and for one unit, how
// long its answer is waited for and when it is left alone (Breaker). Both are state machines without clock, goroutine or
// I/O: the time is an argument, counted on the monotonic clock from a fixed moment in the past and never negative, so that a wall
// clock step changes nothing.
// Neither is safe for concurrent use; each belongs to one actor.
package schedule

import "time"

// Class is the urgency of a request.
type Class uint8

// The classes, most urgent first.
const (
	Write       Class = iota // changes the unit
	Interactive              // somebody waits for the answer
	Poll                     // the unit's own schedule
	Shed                     // a poll that the line has no time for: it goes when nothing else can, and has a small share of the line
	Probe                    // asks a unit that has fallen silent whether it is back
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
	Key      string        // a poll or probe with the unit and key of one that waits takes its place; empty: never
	Deadline time.Duration // from this moment on nobody wants it any more; 0: never
	Due      time.Duration // of the items of a class that can go the one with the earliest goes first
	Rest     time.Duration // how long the unit must be left alone after this transaction
	Payload  P
}

// Outcome is how a transaction ended.
type Outcome uint8

// The outcomes.
const (
	Answered  Outcome = iota // a valid answer
	Exception                // a valid exception: the unit lives. Exceptions 10 and 11 of a gateway are NoAnswer instead
	NoAnswer                 // nothing came in time
	Garbled                  // something came that is no valid answer: wrong CRC, cut short
	Late                     // an answer came after its request was given up and counted as NoAnswer
	NotSent                  // it never went out (port closed, expired): says nothing about the unit
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

// Verdict is what became of a pushed item.
type Verdict uint8

// The verdicts.
const (
	Refused Verdict = iota // its class is full
	Queued
	Merged // it took the place of the item that Push returns
)
