package line

import "time"

// deliver delivers the next n bytes of b: at once to stations that receive a stream, to the others
// the whole burst with its last byte.
func (l *Line) deliver(b *burst, n int) {
	l.mu.Lock()
	first := b.heard
	l.spoil(b, n)
	var heard []hearing
	for _, s := range l.stations {
		from := first
		if !s.stream {
			if b.heard < len(b.data) {
				continue
			}
			from = 0
		}
		if h, ok := l.hearing(s, b, from); ok {
			heard = append(heard, h)
		}
	}
	if b.heard < len(b.data) {
		l.plan(b)
	} else {
		l.finish(b)
	}
	l.bursts = unfinished(l.bursts)
	l.mu.Unlock()
	for _, h := range heard {
		h.by.hear(h.span, b.from, b.baud)
	}
}

// hearing is what one station receives of some bytes.
type hearing struct {
	by *station
	span
}

// spoil applies collisions and noise to the next n bytes of b.
func (l *Line) spoil(b *burst, n int) {
	for i := b.heard; i < b.heard+n; i++ {
		c, here := b.data[i], true
		switch fateOf(b, i, l.bursts) {
		case swallowed:
			here = false
			l.stats.Collided++
		case garbled:
			c = l.garbage(c)
			l.stats.Collided++
		}
		if l.opts.Loss > 0 && l.noise.Float64() < l.opts.Loss {
			here = false
			l.stats.Lost++
		}
		if l.opts.Flip > 0 && l.noise.Float64() < l.opts.Flip {
			c ^= 1 << l.noise.IntN(8)
			l.stats.Flipped++
		}
		b.noisy, b.arrives = append(b.noisy, c), append(b.arrives, here)
	}
	b.heard += n
}

// garbage returns a random byte other than c.
func (l *Line) garbage(c byte) byte { return c ^ byte(1+l.noise.IntN(255)) }

// hearing returns what s receives of b from byte first on: nothing while s itself sends, garbage at
// another baud rate.
func (l *Line) hearing(s *station, b *burst, first int) (hearing, bool) {
	if s == b.from && !(l.opts.Echo && s == l.client) || l.opts.FourWire && s != l.client && b.from != l.client {
		return hearing{}, false
	}
	h := hearing{by: s}
	understood := near(l.baudOf(s), b.baud)
	for i := first; i < b.heard; i++ {
		from, to := b.at(i), b.at(i+1)
		if !b.arrives[i] || s != b.from && talking(s, from, to, l.bursts) {
			continue
		}
		c := b.noisy[i]
		if !understood {
			c = l.garbage(c)
		}
		if len(h.data) == 0 {
			h.start = from
		}
		h.data, h.end = append(h.data, c), to
	}
	return h, len(h.data) > 0
}

// near reports whether two UARTs at these rates understand each other. The limit is 3 %; half a bit
// in the eleven of a character, where reception fails, is 4.5 %.
func near(a, b int) bool { return 100*max(a-b, b-a) <= 3*max(a, b) }

func (l *Line) finish(b *burst) {
	l.stats.Busy += max(0, b.end()-max(b.start, l.busyTo))
	l.busyTo = max(l.busyTo, b.end())
	if b.end() >= l.last.end {
		l.last = talk{b.from, b.end()}
	}
}

// moment converts t to wall and monotonic time.
func (l *Line) moment(t time.Duration) time.Time { return l.epoch.Add(t) }
