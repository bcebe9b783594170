package line

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"gatewayd/protocols/serial"
)

// Line is the wire. All methods may be called from any goroutine, except that Close must not be
// called from a function of a device.
type Line struct {
	epoch  time.Time
	timer  *serial.Timer
	client *station
	done   sync.WaitGroup

	mu       sync.Mutex
	opts     Options
	plugged  *socket // nil while unplugged
	stations []*station
	bursts   []*burst // on the wire, scheduled, or needed to find collisions with those
	agenda   agenda
	working  bool // work is running entries and sets the timer itself afterwards
	closed   bool
	noise    *rand.Rand
	stats    Stats
	last     talk
	busyTo   time.Duration
}

// station is one sender and receiver on the wire.
type station struct {
	hear   func(s span, from *station, baud int) // runs on the line's goroutine, without its lock
	stream bool                                  // receives portions as they arrive, not whole bursts at their end
	sentTo time.Duration                         // end of the last byte it has put on the wire
}

// talk is the station that sent last and when it ended.
type talk struct {
	from *station
	end  time.Duration
}

// New returns a plugged line without devices. Its goroutines run until Close.
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

// Close unplugs the port and reports the end to the devices: a Tap reads io.EOF.
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

// SetBaud sets the devices to baud bit/s, or to the rate of the client if baud is 0.
func (l *Line) SetBaud(baud int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opts.Baud = max(baud, 0)
}

func (l *Line) now() time.Duration { return time.Since(l.epoch) }

// work carries out the entries of the agenda until the timer is closed.
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

// wake sets the timer to the first entry. The caller holds the lock.
func (l *Line) wake() {
	if due, ok := l.agenda.next(); ok && !l.closed {
		_ = l.timer.Set(due - l.now())
	}
}

// at puts do on the agenda. The caller holds the lock.
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

// baudOf returns the baud rate of s. The caller holds the lock.
func (l *Line) baudOf(s *station) int {
	if s != l.client && l.opts.Baud > 0 {
		return l.opts.Baud
	}
	if l.plugged != nil {
		return l.plugged.baud()
	}
	return defaultBaud
}

// send puts data on the wire, not before start and not before the end of what s has already sent.
// The caller holds the lock.
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

// longest is the maximum length of a burst in bytes. It exceeds the longest Modbus frame (ASCII),
// so that a station that receives whole bursts gets a frame at its last byte.
const longest = 520

// plan schedules the delivery of the next bytes of b at the end of the last of them. Delivery in
// portions, with a wake-up for each, is needed only if a station receives a stream.
func (l *Line) plan(b *burst) {
	n := len(b.data) - b.heard
	if slices.ContainsFunc(l.stations, func(s *station) bool { return s != b.from && s.stream }) {
		n = l.opts.portionOf(n, b.char)
	}
	l.at(b.at(b.heard+n), func() { l.deliver(b, n) })
}
