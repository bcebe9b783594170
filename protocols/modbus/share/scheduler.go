// Package share decides how several masters share one line or link: whose request goes next, which
// requests are combined into one transaction, and which are answered from an earlier answer. It has
// no clock, I/O or goroutine: the time is an argument, counted from a fixed moment, and each
// Scheduler belongs to one actor.
package share

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Limits of a Scheduler.
const (
	maxWaiting = 4096 // waiting transactions, of all masters
	maxKept    = 4096 // answers kept
)

// Scheduler schedules the requests to one line or link. M identifies a master, W is a request that
// waits for its answer.
type Scheduler[M comparable, W any] struct {
	limit   int // maximum number of transactions under way
	out     int
	waiting int

	queues map[M][]*Transaction[M, W]
	turns  []M // masters with work, in the order of their turns

	flights map[key]*Transaction[M, W] // reads that others may join
	kept    map[key]answer
	ages    map[uint8]uint64 // per unit, the number of changes
	all     uint64           // the number of changes that affect all units
	tap     *modbus.Tap      // knows what others write
}

// key identifies equal reads.
type key struct {
	unit, function    uint8
	address, quantity uint16
}

// age is the state of a unit: between two equal ages nothing was written to it.
type age struct{ unit, all uint64 }

type answer struct {
	response modbus.Response
	until    time.Duration
	age      age
}

// Transaction is a request that is sent to the line or link once, for all that wait for it.
type Transaction[M comparable, W any] struct {
	Request modbus.Request
	Keep    time.Duration // how long its answer may be given to others
	Rest    time.Duration // not used here
	Waiting []W
	Until   time.Duration // end of the time for which its master waits for a turn

	age age
}

// NewScheduler returns a Scheduler with at most the given number of transactions under way.
func NewScheduler[M comparable, W any](most int) *Scheduler[M, W] {
	return &Scheduler[M, W]{
		limit: max(most, 1), queues: map[M][]*Transaction[M, W]{}, flights: map[key]*Transaction[M, W]{},
		kept: map[key]answer{}, ages: map[uint8]uint64{},
	}
}

// SetLimit changes the maximum number of transactions under way.
func (d *Scheduler[M, W]) SetLimit(most int) { d.limit = max(most, 1) }

// SetTap sets the tap of the line or link. From then on, what others write there also changes a
// unit.
func (d *Scheduler[M, W]) SetTap(tap *modbus.Tap) {
	if d.tap != nil && tap != d.tap {
		d.all += 1 << 32 // the counts of this tap started separately
	}
	d.tap = tap
}

// Verdict is what is done with a request.
type Verdict uint8

// The verdicts.
const (
	Queued Verdict = iota
	Joined         // the same request is already under way or waiting
	Known          // the answer is known
	Full           // too many requests wait
)

func keyOf(r modbus.Request) key { return key{r.Unit, r.Function, r.Address, r.Quantity} }

func (d *Scheduler[M, W]) age(unit uint8) age {
	return age{d.ages[unit] + d.tap.Written(unit), d.all + d.tap.Written(0)}
}

// change records that the state of a unit may have changed; unit 0 means all units.
func (d *Scheduler[M, W]) change(unit uint8) {
	if unit == 0 {
		d.all++
		return
	}
	d.ages[unit]++
}

// plain reports whether r only reads and is identified by its key.
func plain(r modbus.Request) bool {
	return r.Function >= modbus.ReadCoils && r.Function <= modbus.ReadInputRegisters
}

// Take takes a transaction with one waiting request. A read that was requested before a write does
// not answer one that is requested after it.
func (d *Scheduler[M, W]) Take(master M, t *Transaction[M, W], now time.Duration) (Verdict, modbus.Response) {
	if plain(t.Request) {
		k, age := keyOf(t.Request), d.age(t.Request.Unit)
		if a, ok := d.kept[k]; ok && a.age == age && now < a.until && t.Keep > 0 {
			return Known, a.response
		}
		if f := d.flights[k]; f != nil && f.age == age {
			f.Waiting = append(f.Waiting, t.Waiting...)
			f.Until, f.Keep = max(f.Until, t.Until), max(f.Keep, t.Keep)
			return Joined, modbus.Response{}
		}
	}
	if d.waiting >= maxWaiting {
		return Full, modbus.Response{}
	}
	if plain(t.Request) {
		d.flights[keyOf(t.Request)] = t
	} else {
		d.change(t.Request.Unit)
	}
	t.age = d.age(t.Request.Unit)
	d.waiting++
	if len(d.queues[master]) == 0 {
		d.turns = append(d.turns, master)
	}
	d.queues[master] = append(d.queues[master], t)
	return Queued, modbus.Response{}
}

// Next returns the transaction whose turn it is: masters take turns, and each master's transactions
// go in the order of their arrival. late are those that have waited too long, and those for which,
// according to gone, nobody waits any more. t is nil if nothing is due.
func (d *Scheduler[M, W]) Next(now time.Duration, gone func(W) bool) (t *Transaction[M, W], late []*Transaction[M, W]) {
	for d.out < d.limit && len(d.turns) > 0 {
		t := d.pop()
		if now >= t.Until || d.forsaken(t, gone) {
			d.land(t)
			late = append(late, t)
			continue
		}
		d.out++
		return t, late
	}
	return nil, late
}

// pop removes the next transaction of the master whose turn it is.
func (d *Scheduler[M, W]) pop() *Transaction[M, W] {
	master := d.turns[0]
	d.turns = append(d.turns[:0], d.turns[1:]...)
	queue := d.queues[master]
	t := queue[0]
	queue[0] = nil
	if queue = queue[1:]; len(queue) == 0 {
		delete(d.queues, master)
	} else {
		d.queues[master] = queue
		d.turns = append(d.turns, master)
	}
	d.waiting--
	return t
}

func (d *Scheduler[M, W]) forsaken(t *Transaction[M, W], gone func(W) bool) bool {
	for _, w := range t.Waiting {
		if !gone(w) {
			return false
		}
	}
	return true
}

// land ends the time in which other requests may join.
func (d *Scheduler[M, W]) land(t *Transaction[M, W]) {
	if k := keyOf(t.Request); d.flights[k] == t {
		delete(d.flights, k)
	}
}

// Done takes back a transaction returned by Next. good means that the unit has answered with
// response, which is kept for others if nothing was written meanwhile.
func (d *Scheduler[M, W]) Done(t *Transaction[M, W], good bool, response modbus.Response, now time.Duration) {
	d.out--
	d.land(t)
	if !plain(t.Request) {
		d.change(t.Request.Unit) // reads made meanwhile may show the state before or after it
		return
	}
	if !good || t.Keep <= 0 || t.age != d.age(t.Request.Unit) {
		return
	}
	if len(d.kept) >= maxKept {
		d.forget(now)
	}
	d.kept[keyOf(t.Request)] = answer{response, now + t.Keep, t.age}
}

// forget drops outdated answers, or all if none is outdated.
func (d *Scheduler[M, W]) forget(now time.Duration) {
	for k, a := range d.kept {
		if now >= a.until || a.age != d.age(k.unit) {
			delete(d.kept, k)
		}
	}
	if len(d.kept) >= maxKept {
		clear(d.kept)
	}
}

// Waiting returns the number of transactions that wait for their turn.
func (d *Scheduler[M, W]) Waiting() int { return d.waiting }
