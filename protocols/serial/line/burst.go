package line

import "time"

// A burst is what one talker sends without a pause. Times are since the line was made.
type burst struct {
	from  *station
	baud  int
	start time.Duration
	char  time.Duration // how long one byte takes
	data  []byte

	heard   int    // bytes that are over; the listeners that want a stream have them
	noisy   []byte // those as the wire made them
	arrives []bool // which of those can be received at all
}

// at is when byte i begins, and byte i-1 ends.
func (b *burst) at(i int) time.Duration { return b.start + time.Duration(i)*b.char }

func (b *burst) end() time.Duration { return b.at(len(b.data)) }

// overlaps says whether b is on the wire at some time within [from, to).
func (b *burst) overlaps(from, to time.Duration) bool { return b.start < to && b.end() > from }

// fate is what becomes of a byte on the shared wire.
type fate int

const (
	clean     fate = iota
	garbled        // somebody else talked meanwhile
	swallowed      // as garbled, and receivers still take it for a part of the other's byte
)

// fateOf judges byte i of b among all the bursts on the wire. A receiver locks on to whoever began first and sees one stream of
// characters: the one that came later, by place in all if both began at once, adds only garbage to it.
func fateOf(b *burst, i int, all []*burst) fate {
	from, to := b.at(i), b.at(i+1)
	f, later := clean, false
	for _, o := range all {
		if o == b {
			later = true
		}
		if o.from == b.from || !o.overlaps(from, to) {
			continue
		}
		if o.start < b.start || o.start == b.start && !later {
			return swallowed
		}
		f = garbled
	}
	return f
}

// talking says whether s sends at some time within [from, to): its receiver is off then.
func talking(s *station, from, to time.Duration, all []*burst) bool {
	for _, o := range all {
		if o.from == s && o.overlaps(from, to) {
			return true
		}
	}
	return false
}

// unfinished drops the bursts that no byte still to be heard can have met.
func unfinished(all []*burst) []*burst {
	oldest := time.Duration(1<<63 - 1)
	for _, b := range all {
		if b.heard < len(b.data) {
			oldest = min(oldest, b.start)
		}
	}
	kept := all[:0]
	for _, b := range all {
		if b.heard < len(b.data) || b.end() > oldest {
			kept = append(kept, b)
		}
	}
	clear(all[len(kept):])
	return kept
}
