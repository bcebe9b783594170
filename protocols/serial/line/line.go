package line

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"gatewayd/protocols/serial"
)

// Line is the wire. All methods may be called from any goroutine; Close not from a device's own function.
type Line struct {
	epoch  time.Time
	timer  *serial.Timer
	client *station
	done   sync.WaitGroup

	mu       sync.Mutex
	opts     Options
	plugged  *socket // nil while unplugged
	stations []*station
	bursts   []*burst // on the wire, to come, or needed to judge those
	agenda   agenda
	working  bool // the loop sets the timer itself when it is through
	closed   bool
	noise    *rand.Rand
	stats    Stats
	last     talk
	busyTo   time.Duration
}

// station is one talker and listener on the wire.
type station struct {
	hear   func(s span, from *station, baud int) // on the line's goroutine, without its lock
	stream bool                                  // hears portions as they come, not whole bursts at their end
	sentTo time.Duration                         // end of the last byte it has given to the wire
}

// talk is who spoke last and until when.
type talk struct {
	from *station
	end  time.Duration
}

// New makes a plugged line with no devices. Its goroutines live until Close.
func New(opts Options) (*Line, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	timer, err := serial.NewTimer()
	if err != nil {
		return nil, err
	}
	l := &Line{epoch: time.Now(), timer: timer, opts: opts, noise: rand.New(rand.NewPCG(opts.Seed, 0))}
	l.client = &station{hear: l.toClient, stream: true}
	l.stations = []*station{l.client}
	if err := l.Plug(); err != nil {
		timer.Close()
		return nil, err
	}
	l.done.Go(l.work)
	return l, nil
}

// Close unplugs the port and lets the devices hear the end: a Tap reads io.EOF.
func (l *Line) Close() error {
	l.mu.Lock()
	l.closed = true
	stations := l.stations
	l.stations = nil
	l.mu.Unlock()
	err := l.Unplug()
	l.timer.Close()
	l.done.Wait()
	for _, s := range stations {
		if s != l.client {
			s.hear(span{}, nil, 0)
		}
	}
	return err
}

// SetNoise changes the probabilities of Options from the next byte on.
func (l *Line) SetNoise(loss, flip float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opts.Loss, l.opts.Flip = loss, flip
}

// SetBaud sets the devices to baud bit/s, 0 for whatever the client sets.
func (l *Line) SetBaud(baud int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opts.Baud = max(baud, 0)
}

func (l *Line) now() time.Duration { return time.Since(l.epoch) }

// work does what the agenda says until the timer is closed.
func (l *Line) work() {
	for l.timer.Expired() == nil {
		for {
			l.mu.Lock()
			do, ok := l.agenda.take(l.now())
			l.working = ok
			if !ok {
				l.wake()
			}
			l.mu.Unlock()
			if !ok {
				break
			}
			do()
		}
	}
}

// wake sets the timer to the first entry. The lock is held.
func (l *Line) wake() {
	if due, ok := l.agenda.next(); ok && !l.closed {
		_ = l.timer.Set(due - l.now())
	}
}

// at puts do on the agenda. The lock is held.
func (l *Line) at(due time.Duration, do func()) {
	first, any := l.agenda.next()
	l.agenda.put(due, do)
	if !l.working && (!any || due < first) {
		l.wake()
	}
}

func (l *Line) join(s *station) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.stations = append(l.stations[:len(l.stations):len(l.stations)], s)
	}
}

func (l *Line) leave(s *station) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make([]*station, 0, len(l.stations))
	for _, o := range l.stations {
		if o != s {
			kept = append(kept, o)
		}
	}
	l.stations = kept
}

// baudOf is what s is set to. The lock is held.
func (l *Line) baudOf(s *station) int {
	if s != l.client && l.opts.Baud > 0 {
		return l.opts.Baud
	}
	if l.plugged != nil {
		return l.plugged.baud()
	}
	return defaultBaud
}

// send puts data on the wire, not before start and not before what s has sent already. The lock is held.
func (l *Line) send(s *station, data []byte, start time.Duration) {
	if l.closed || len(data) == 0 {
		return
	}
	baud := l.baudOf(s)
	for part := range slices.Chunk(data, longest) {
		b := &burst{from: s, baud: baud, start: max(start, s.sentTo), char: l.opts.charTime(baud), data: part}
		if s == l.client {
			l.judge(b)
		}
		s.sentTo = b.end()
		l.bursts = append(l.bursts, b)
		l.plan(b)
	}
}

// longest is the longest burst in bytes, the longest Modbus frame (ASCII) and more: a device that hears only whole bursts hears it
// at its last byte.
const longest = 520

// plan has the next bytes of b heard when the last of them has ended. Only who wants a stream makes it worth to wake up in between.
func (l *Line) plan(b *burst) {
	n := len(b.data) - b.heard
	if slices.ContainsFunc(l.stations, func(s *station) bool { return s != b.from && s.stream }) {
		n = l.opts.portionOf(n, b.char)
	}
	l.at(b.at(b.heard+n), func() { l.deliver(b, n) })
}
