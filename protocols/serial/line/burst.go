package line

import "time"

// A burst is what one station sends without a pause. Times are relative to the creation of the
// line.
type burst struct {
	from  *station
	baud  int
	start time.Duration
	char  time.Duration // duration of one byte
	data  []byte

	heard   int    // number of bytes that are complete; stream listeners have received them
	noisy   []byte // the complete bytes after collisions and noise
	arrives []bool // which of them can be received at all
}

// at returns when byte i begins and byte i-1 ends.
func (b *burst) at(i int) time.Duration { return b.start + time.Duration(i)*b.char }

func (b *burst) end() time.Duration { return b.at(len(b.data)) }

// overlaps reports whether b is on the wire at any time within [from, to).
func (b *burst) overlaps(from, to time.Duration) bool { return b.start < to && b.end() > from }

// fate is what happens to a byte on the shared wire.
type fate int

const (
	clean     fate = iota
	garbled        // another station was sending at the same time
	swallowed      // collided, and received as part of the byte of the other station
)

// fateOf returns the fate of byte i of b among all the bursts on the wire. A receiver locks on to
// the burst that began first and sees one stream of characters. A burst that began later, or stands
// later in all if both began at once, only garbles it.
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

// talking reports whether s sends at any time within [from, to), while its receiver is off.
func talking(s *station, from, to time.Duration, all []*burst) bool {
	for _, o := range all {
		if o.from == s && o.overlaps(from, to) {
			return true
		}
	}
	return false
}

// unfinished drops the bursts that cannot overlap any byte that is still to be delivered.
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
