package line

import "time"

// tolerance is what a pause may be short of t3.5: the client's clock is not the wire's.
const tolerance = 100 * time.Microsecond

// Stats count since New.
type Stats struct {
	Requests   int64         // times the client began to talk after somebody else, or after t3.5
	Violations int64         // those that began less than t3.5 (with 100 µs of tolerance) after the end of what a device said
	FromClient int64         // bytes
	ToClient   int64         // bytes
	Collided   int64         // bytes spoiled by two talkers at once
	Lost       int64         // bytes lost to noise
	Flipped    int64         // bytes with a bit flipped by noise
	Overrun    int64         // bytes the client did not read in time
	Busy       time.Duration // how long somebody talked
}

// Stats returns the counts so far.
func (l *Line) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// judge counts the client's burst b before it goes on the wire. The lock is held.
func (l *Line) judge(b *burst) {
	l.stats.FromClient += int64(len(b.data))
	last := l.last
	for _, o := range l.bursts {
		if o.start < b.start && o.end() >= last.end {
			last = talk{o.from, o.end()}
		}
	}
	pause, silence := b.start-last.end, l.opts.silence(b.baud)
	switch {
	case last.from == nil:
		l.stats.Requests++
	case last.from == l.client:
		if pause >= silence {
			l.stats.Requests++
		}
	default:
		l.stats.Requests++
		if pause < silence-tolerance {
			l.stats.Violations++
		}
	}
}
