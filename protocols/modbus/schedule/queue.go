package schedule

import "time"

// QueueConfig bounds a queue; the zero value means the defaults.
type QueueConfig struct {
	Writes       int // waiting at most, over all units; default 64
	Interactives int // default 64
	Polls        int // default 1024; as many may be shed
	Probes       int // default 256

	Batch   int // elections in a row that may pass over a class which has work; default 4
	PerUnit int // transactions in flight per unit; default 1, and 1 for a unit that must rest or did not answer

	// Quiet is the longest that a unit that did not answer gets no further request, so that its late answer meets none; default 0. The
	// pause is six times as long as it was waited for, since who is waited for briefly is known to be quick.
	Quiet time.Duration
	// ProbeShare bounds the air time of unanswered probes, of all units together, to one part in this many; default 150. Like
	// SilentShare it holds only while a unit that is not silent needs the line: one that waits for it, or was on it so lately
	// that it would be back before the part is over. On a line that nobody else needs silent units are asked when they like.
	ProbeShare int
	// ShedShare is the part of the air time that shed polls have in any case, all together, one in this many; default 20.
	ShedShare int
	// SilentShare bounds the air time of polls to units that did not answer last time, all together, to one part in this many, so
	// that a dead segment does not hold up the line until its breakers open; default 4, 1 for no bound.
	SilentShare int
}

// Queue holds the requests that wait for one line. It elects writes before interactive requests before polls before probes,
// but a class with work that was passed over Batch times in a row goes next, so every class with work is served at least
// once in Batch+classes elections. Shed polls go last but for probes, unless they have had less than their share of the time. Within a class
// what is due first goes first; of what is due together the units take turns, and a unit's items go in the order they came. A unit that rests
// is passed over and keeps its turn.
type Queue[P any] struct {
	config  QueueConfig
	lanes   [classes]lane[P]
	skipped [classes]int // elections that passed over the class while it had work
	units   Units[unit]
	expired []Item[P]
	// earliest is no later than any deadline that waits; 0: none waits.
	earliest time.Duration
	probing  hold // of probes
	doubting hold // of polls of silent units
	// behind is from when on shed polls have had less than their share.
	behind time.Duration
}

// quiet is how many times as long as for an answer in time a late one is feared: modbus.Options.Late.
const quiet = 6

// unit is what the queue knows of a unit that had a transaction.
type unit struct {
	flying int
	silent bool          // its last transaction had no answer
	ready  time.Duration // elected no earlier
	rest   time.Duration // of the last item elected
	class  Class         // of the last item elected
	since  time.Duration // the last election
	last   time.Duration // when it was last on the line
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

// Push adds an item. When it merges into a waiting poll or probe of the same unit and key, it keeps that one's place, and the
// replaced item is returned so that its asker can be told. An item of no known class is refused.
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

// Next elects the next item; the caller sends it and calls Done when it has ended. When ok is false nothing may go now: wait is
// then how long until something changes by itself (a rest ends, a deadline passes), or 0 when only Push or Done can
// change it. Items past their deadline are never elected.
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

// ready returns from when on the unit's items of the class may go; ok is false while only Done can tell.
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

// wait returns the time until a waiting item can go or expires, 0 for never.
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

// Done says that a transaction with the unit has ended, after which the unit rests. Calls without a transaction in flight do nothing.
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
	if outcome == NoAnswer { // what came garbled has come
		u.ready = max(u.ready, now+min(q.config.Quiet, quiet*took))
	}
	if u.class == Probe {
		q.probing.extend(now, took*time.Duration(q.config.ProbeShare-1))
	} else {
		q.doubting.extend(now, took*time.Duration(q.config.SilentShare-1))
	}
}

// Expired removes and returns the items whose deadline has passed, so that their askers can be told.
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

// Hurry is the earliest deadline of the writes and interactive requests that wait; 0: none has one.
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

// Drop removes and returns the items that match, e.g. all polls of a unit that is quarantined or gone, in no promised order
// between units. What is in flight stays so until Done.
func (q *Queue[P]) Drop(match func(Item[P]) bool) []Item[P] {
	var gone []Item[P]
	for c := range q.lanes {
		gone = append(gone, q.lanes[c].remove(match)...)
	}
	return gone
}

// Len returns how many items of the class wait.
func (q *Queue[P]) Len(class Class) int {
	if class >= classes {
		return 0
	}
	return q.lanes[class].size
}

// InFlight returns how many elected items have not been Done, over all units.
func (q *Queue[P]) InFlight() int {
	n := 0
	for _, u := range q.units.All() {
		n += u.flying
	}
	return n
}
