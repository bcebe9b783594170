package schedule

import "time"

// QueueConfig bounds a queue. Zero values mean the defaults.
type QueueConfig struct {
	Writes       int // maximum number waiting, over all units; default 64
	Interactives int // default 64
	Polls        int // default 1024; the same number of shed polls may wait
	Probes       int // default 256

	Batch int // consecutive elections that may pass over a class which has work; default 4
	// Transactions in flight per unit; default 1, and always 1 for a unit that must rest or did not
	// answer.
	PerUnit int

	// Quiet is the longest pause after a request without an answer in which the unit gets no
	// further request, so that its late answer cannot meet one; default 0. The pause is six times
	// the time waited for the answer, because a unit with a short wait is known to be fast.
	Quiet time.Duration
	// ProbeShare bounds the air time of unanswered probes, of all units together, to one part in
	// this many; default 150. Like SilentShare it applies only while a unit that is not silent
	// needs the line: one that waits for it, or has used it so recently that it is expected back
	// before the pause is over. On a line that no other unit needs, silent units are not limited.
	ProbeShare int
	// ShedShare is the minimum share of the air time for shed polls, all together: one part in this
	// many; default 20.
	ShedShare int
	// SilentShare bounds the air time of polls to units that did not answer last time, all
	// together, to one part in this many, so that a dead segment does not hold up the line until
	// its breakers open; default 4, 1 for no bound.
	SilentShare int
}

// Queue holds the requests that wait for one line. It elects writes before interactive requests
// before polls before probes, but a class with work that was passed over Batch times in a row goes
// next, so every class with work is served at least once in Batch+classes elections. Shed polls go
// after everything but probes, unless they have had less than their share of the time. Within a
// class, what is due first goes first; among items due at the same time the units take turns, and a
// unit's items go in the order of their arrival. A unit that rests is passed over and keeps its
// turn.
type Queue[P any] struct {
	config  QueueConfig
	lanes   [classes]lane[P]
	skipped [classes]int // elections that passed over the class while it had work
	units   Units[unit]
	expired []Item[P]
	// earliest is no later than any waiting deadline; 0: none waits.
	earliest time.Duration
	probing  hold // for probes
	doubting hold // for polls of silent units
	// behind is the time from which on shed polls have had less than their share.
	behind time.Duration
}

// quiet is for how many times the wait for an answer a late answer is still expected: see
// modbus.Options.Late.
const quiet = 6

// unit is the state of a unit that has had a transaction.
type unit struct {
	flying int
	silent bool          // its last transaction had no answer
	ready  time.Duration // not elected before that time
	rest   time.Duration // of the last item elected
	class  Class         // of the last item elected
	since  time.Duration // time of the last election
	last   time.Duration // when it last used the line
}

// NewQueue returns an empty queue.
func NewQueue[P any](config QueueConfig) *Queue[P] {
	or := func(n *int, byDefault int) {
		if *n <= 0 {
			*n = byDefault
		}
	}
	or(&config.Writes, 64)
	or(&config.Interactives, 64)
	or(&config.Polls, 1024)
	or(&config.Probes, 256)
	or(&config.Batch, 4)
	or(&config.PerUnit, 1)
	or(&config.ProbeShare, 150)
	or(&config.SilentShare, 4)
	or(&config.ShedShare, 20)
	q := &Queue[P]{config: config}
	for class, bound := range []int{config.Writes, config.Interactives, config.Polls, config.Polls, config.Probes} {
		q.lanes[class].bound = bound
	}
	return q
}

// Push adds an item. If it merges into a waiting poll or probe of the same unit and key, it takes
// its place, and the replaced item is returned so that its asker can be informed. An item of an
// unknown class is refused.
func (q *Queue[P]) Push(item Item[P]) (verdict Verdict, replaced Item[P]) {
	if item.Class >= classes {
		return Refused, replaced
	}
	verdict, replaced = q.lanes[item.Class].push(item)
	if verdict != Refused {
		q.note(item.Deadline)
	}
	return verdict, replaced
}

func (q *Queue[P]) note(deadline time.Duration) {
	if deadline > 0 && (q.earliest == 0 || deadline < q.earliest) {
		q.earliest = deadline
	}
}

// Next elects the next item; the caller sends it and calls Done when it has ended. If ok is false,
// nothing may be sent now: wait is then the time until something changes by itself (a rest ends, a
// deadline passes), or 0 if only Push or Done can change it. Items past their deadline are never
// elected.
func (q *Queue[P]) Next(now time.Duration) (item Item[P], wait time.Duration, ok bool) {
	q.sweep(now)
	q.weigh(&q.probing, now)
	q.weigh(&q.doubting, now)
	class, ok := q.elect(now)
	if !ok {
		return item, q.wait(now), false
	}
	item = q.lanes[class].take(func(id uint8) bool { return q.free(class, id, now) })
	if q.empty() {
		q.earliest = 0
	}
	u := q.units.Make(item.Unit)
	u.flying++
	u.rest, u.class, u.since, u.last = item.Rest, class, now, now
	return item, 0, true
}

func (q *Queue[P]) empty() bool {
	for c := range q.lanes {
		if q.lanes[c].size > 0 {
			return false
		}
	}
	return true
}

// elect returns the class that goes next and counts those passed over.
func (q *Queue[P]) elect(now time.Duration) (Class, bool) {
	var able [classes]bool
	elected, found := Class(0), false
	for c := range classes {
		able[c] = q.lanes[c].any(func(id uint8) bool { return q.free(c, id, now) })
		if !able[c] {
			continue
		}
		starved := q.skipped[c] >= q.config.Batch && q.skipped[c] > q.skipped[elected]
		if c == Shed {
			starved = now >= q.behind
		}
		if !found || starved {
			elected, found = c, true
		}
	}
	if !found {
		return 0, false
	}
	for c := range classes {
		if able[c] {
			q.skipped[c]++
		}
	}
	q.skipped[elected] = 0
	return elected, true
}

func (q *Queue[P]) free(class Class, id uint8, now time.Duration) bool {
	at, ok := q.ready(class, id)
	return ok && now >= at
}

// ready returns the time from which the unit's items of the class may be sent; ok is false if that
// depends on Done.
func (q *Queue[P]) ready(class Class, id uint8) (at time.Duration, ok bool) {
	u := q.units.Of(id)
	if u != nil {
		at = u.ready
	}
	switch {
	case class == Probe:
		at = max(at, q.probing.end)
	case (class == Poll || class == Shed) && u != nil && u.silent:
		at = max(at, q.doubting.end)
	}
	return at, u == nil || u.flying == 0 || u.flying < q.config.PerUnit && u.rest == 0 && !u.silent
}

// wait returns the time until a waiting item can be sent or expires, 0 for never.
func (q *Queue[P]) wait(now time.Duration) time.Duration {
	next := q.earliest
	for c := range classes {
		for _, id := range q.lanes[c].turns {
			if at, ok := q.ready(c, id); ok && (next == 0 || at < next) {
				next = at
			}
		}
	}
	return max(0, next-now)
}

// Done reports that a transaction with the unit has ended, after which the unit rests. Calls
// without a transaction in flight do nothing.
func (q *Queue[P]) Done(id uint8, now time.Duration, outcome Outcome) {
	u := q.units.Of(id)
	if u == nil || u.flying == 0 {
		return
	}
	u.flying--
	if outcome == NotSent {
		return
	}
	u.last = now
	u.ready = max(u.ready, now+u.rest)
	took := max(0, now-u.since)
	if u.class == Shed {
		q.behind = after(now, times(took, int64(q.config.ShedShare-1)))
	}
	if u.silent = outcome == NoAnswer || outcome == Garbled; !u.silent {
		return
	}
	if outcome == NoAnswer { // a garbled answer has already arrived
		u.ready = max(u.ready, now+min(q.config.Quiet, quiet*took))
	}
	if u.class == Probe {
		q.probing.extend(now, took*time.Duration(q.config.ProbeShare-1))
	} else {
		q.doubting.extend(now, took*time.Duration(q.config.SilentShare-1))
	}
}

// Expired removes and returns the items whose deadline has passed, so that their askers can be
// informed.
func (q *Queue[P]) Expired(now time.Duration) []Item[P] {
	q.sweep(now)
	gone := q.expired
	q.expired = nil
	return gone
}

func (q *Queue[P]) sweep(now time.Duration) {
	if q.earliest == 0 || now < q.earliest {
		return
	}
	q.earliest = 0
	for c := range q.lanes {
		past := func(item Item[P]) bool { return item.Deadline > 0 && now >= item.Deadline }
		q.expired = append(q.expired, q.lanes[c].remove(past)...)
		for _, items := range q.lanes[c].byUnit.All() {
			for _, item := range items {
				q.note(item.Deadline)
			}
		}
	}
}

// Hurry returns the earliest deadline of the waiting writes and interactive requests; 0: none has
// one.
func (q *Queue[P]) Hurry() time.Duration {
	first := time.Duration(0)
	for _, c := range []Class{Write, Interactive} {
		if q.lanes[c].size == 0 {
			continue
		}
		for _, items := range q.lanes[c].byUnit.All() {
			for _, item := range items {
				if item.Deadline > 0 && (first == 0 || item.Deadline < first) {
					first = item.Deadline
				}
			}
		}
	}
	return first
}

// Drop removes and returns the items that match, for instance all polls of a unit that is
// quarantined or gone. The order between units is unspecified. Items in flight stay so until Done.
func (q *Queue[P]) Drop(match func(Item[P]) bool) []Item[P] {
	var gone []Item[P]
	for c := range q.lanes {
		gone = append(gone, q.lanes[c].remove(match)...)
	}
	return gone
}

// Len returns the number of waiting items of the class.
func (q *Queue[P]) Len(class Class) int {
	if class >= classes {
		return 0
	}
	return q.lanes[class].size
}

// InFlight returns the number of elected items that are not Done, over all units.
func (q *Queue[P]) InFlight() int {
	n := 0
	for _, u := range q.units.All() {
		n += u.flying
	}
	return n
}
