package line

import "time"

// tolerance is how much shorter than t3.5 a pause may be: the client's clock differs from that of
// the wire.
const tolerance = 100 * time.Microsecond

// Stats are counters since New.
type Stats struct {
	Requests   int64         // times the client began to send, after another station or after a pause of t3.5
	Violations int64         // requests that began less than t3.5 (with a tolerance of 100 µs) after the end of a device's reply
	FromClient int64         // bytes
	ToClient   int64         // bytes
	Collided   int64         // bytes garbled by simultaneous senders
	Lost       int64         // bytes lost to noise
	Flipped    int64         // bytes with a bit flipped by noise
	Overrun    int64         // bytes the client did not read in time
	Busy       time.Duration // total time during which any station was sending
}

// Stats returns the counters.
func (l *Line) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats
}

// judge counts burst b of the client before it goes on the wire. The caller holds the lock.
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
