// Package dispatch shares one serial line or connection among the Modbus units on it. It contains
//
//   - the messages exchanged between the actor of a unit and the actor of its line or link (Ask,
//     Answer and others),
//   - the Dispatcher, which holds the requests of all units, decides which go next, retries, sheds
//     polls on a line that cannot keep up, and counts outcomes,
//   - the Batch, in which a worker carries out requests.
//
// It opens nothing and has no clock: the actor supplies the port or connection, and the time. The
// order of requests is decided by package schedule.
package dispatch

import (
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// Ask is the message by which a unit asks its line or link for transactions. All its requests go to
// one unit address.
//
// An Ask must not be modified once it is sent. When it has been answered and the asker is done with
// the answer, the asker may change it and send it again, which saves the memory of a new Answer.
type Ask struct {
	Class    schedule.Class
	Key      string        // a newer Ask with the same key replaces one that still waits; empty: never
	Rest     time.Duration // how long the unit must be left alone after each transaction
	Expires  time.Time     // requests not sent by then are not sent at all; zero: no limit
	Requests []modbus.Request
	// Timeouts are how long requests wait for their answers: the first as long as every request of
	// this Ask has been answered, the second after one without an answer, and so on; an answer
	// returns to the first. After as many consecutive requests without an answer as there are
	// Timeouts, the rest is not sent. Empty: the link's own timeout for all.
	Timeouts []time.Duration
	Search   bool // checks whether a unit exists: a missing answer is not counted and says nothing about the line
	Tag      any  // for the asker; not used here
	// Load is everything the asker polls regularly, and Group the index in it of the group that
	// this Ask polls; nil: it polls nothing regularly.
	Load  *budget.Unit
	Group int

	job *job // its last job, whose memory is reused; nil: it was never sent
}

// PollKey returns the Key of the polls of one scan group; unit is the path of its actor.
func PollKey(unit, group string) string { return unit + " " + group }

// Answer is the answer to an Ask. It is sent once, when all requests have ended.
type Answer struct {
	Ask     *Ask
	Results []Result    // one per request, in their order
	Tap     *modbus.Tap // with the frames of the line or link; nil: none are recorded
	// Shed is why this scan group is not polled at its interval; empty: it is.
	Shed string
}

// Transact is the message by which an actor that serves external masters asks the actor of a unit
// to carry out one request as the master made it; only the unit address is set by the unit. The
// answer is a *Transacted even if the unit did not answer or refused; an error means that nothing
// was sent.
type Transact struct {
	Request modbus.Request
	Wait    time.Duration // the longest it may wait for its turn, at each attempt; 0: as long as the asker waits
	Tag     any           // for the asker; not used here
}

// Transacted is the outcome of a Transact.
type Transacted struct {
	Of *Transact
	Result
}

// Locate is the message that asks the actor of a unit for its Place. Unit is the path of that
// actor.
type Locate struct{ Unit string }

// Place is where a unit is on the field bus. The unit sends it to its firewall whenever it changes.
type Place struct {
	Unit    string // path of the actor of the unit
	Link    string // path of the actor of its line or link
	Address uint8  // unit address there
}
