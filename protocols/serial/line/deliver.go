package line

import "time"

// deliver lets every station hear the next n bytes of b.
func (l *Line) deliver(b *burst, n int) {
	l.mu.Lock()
	first := b.heard
	bytes, arrives := l.spoil(b, first, n)
	b.heard += n
	var heard []hearing
	for _, s := range l.stations {
		if h, ok := l.hearing(s, b, first, bytes, arrives); ok {
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

// hearing is what one station makes of some bytes.
type hearing struct {
	by *station
	span
}

// spoil returns n bytes of b from first on as the wire makes them, and which of them arrive at all.
func (l *Line) spoil(b *burst, first, n int) (bytes []byte, arrives []bool) {
	bytes, arrives = make([]byte, n), make([]bool, n)
	for i := range n {
		c, here := b.data[first+i], true
		switch fateOf(b, first+i, l.bursts) {
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
		bytes[i], arrives[i] = c, here
	}
	return bytes, arrives
}

// garbage is some byte other than c.
func (l *Line) garbage(c byte) byte { return c ^ byte(1+l.noise.IntN(255)) }

// hearing says what s hears of the bytes of b from first on: nothing while it talks itself, garbage at another baud rate.
func (l *Line) hearing(s *station, b *burst, first int, bytes []byte, arrives []bool) (hearing, bool) {
	if s == b.from && !(l.opts.Echo && s == l.client) || l.opts.FourWire && s != l.client && b.from != l.client {
		return hearing{}, false
	}
	h := hearing{by: s}
	baud := l.baudOf(s)
	for i, c := range bytes {
		from, to := b.at(first+i), b.at(first+i+1)
		if !arrives[i] || s != b.from && talking(s, from, to, l.bursts) {
			continue
		}
		if !near(baud, b.baud) {
			c = l.garbage(c)
		}
		if len(h.data) == 0 {
			h.start = from
		}
		h.data, h.end = append(h.data, c), to
	}
	return h, len(h.data) > 0
}

// near says that two UARTs at these rates understand each other: within 3 %, half a bit in the eleven of a character being lost at 4.5 %.
func near(a, b int) bool { return 100*max(a-b, b-a) <= 3*max(a, b) }

func (l *Line) finish(b *burst) {
	l.stats.Busy += max(0, b.end()-max(b.start, l.busyTo))
	l.busyTo = max(l.busyTo, b.end())
	if b.end() >= l.last.end {
		l.last = talk{b.from, b.end()}
	}
}

// moment is t as wall and monotonic time.
func (l *Line) moment(t time.Duration) time.Time { return l.epoch.Add(t) }
