package line

import (
	"slices"
	"time"
)

// Attach adds a device that answers whole frames, which are bytes between pauses of at least t3.5.
// The device receives the frames of all other stations, including other devices unless FourWire is
// set. sent is the end of the last bit. A reply that is not empty begins t3.5, turnaround and the
// time that answer took after that. answer runs on the line's goroutine and must not block. After
// detach, replies already on their way are still sent.
func (l *Line) Attach(answer func(frame []byte, sent time.Time) (reply []byte, turnaround time.Duration)) (detach func()) {
	d := &device{line: l, answer: answer}
	d.station.hear = d.hear
	l.join(&d.station)
	return func() { l.leave(&d.station) }
}

// device is a device added by Attach. Only the line's goroutine uses its framer.
type device struct {
	station
	line   *Line
	framer framer
	answer func([]byte, time.Time) ([]byte, time.Duration)
}

func (d *device) hear(s span, _ *station, baud int) {
	if len(s.data) == 0 {
		return
	}
	if done, ok := d.framer.add(s); ok {
		d.reply(done)
	}
	d.line.mu.Lock()
	defer d.line.mu.Unlock()
	d.framer.silence = d.line.opts.silence(baud)
	d.line.at(s.end+d.framer.silence, d.look)
}

// look ends the frame if the silence has lasted long enough. Otherwise it is called again at the
// earliest time when that can be so.
func (d *device) look() {
	l := d.line
	l.mu.Lock()
	now, quiet := l.now(), d.framer.end+d.framer.silence
	if now < quiet {
		l.mu.Unlock() // more has arrived meanwhile, for which look will be called
		return
	}
	for _, b := range l.bursts {
		if b.from != &d.station && b.start < quiet && b.heard < len(b.data) {
			l.at(b.end()+d.framer.silence, d.look)
			l.mu.Unlock()
			return
		}
	}
	l.mu.Unlock()
	if d.framer.complete(now) {
		d.reply(d.framer.take())
	}
}

func (d *device) reply(f span) {
	l := d.line
	began := l.now()
	reply, turnaround := d.answer(f.data, l.moment(f.end))
	if len(reply) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.send(&d.station, slices.Clone(reply), f.end+d.framer.silence+max(turnaround, 0)+l.now()-began)
}

// Listen calls heard with everything on the wire, including collisions and noise. client is true
// for bytes of the client and false for those of devices. heard runs on the line's goroutine: it
// must not block and must copy what it keeps.
func (l *Line) Listen(heard func(c Chunk, client bool)) (stop func()) {
	s := &station{stream: true}
	s.hear = func(p span, from *station, _ int) {
		if len(p.data) > 0 {
			heard(Chunk{p.data, l.moment(p.start), l.moment(p.end)}, from == l.client)
		}
	}
	l.join(s)
	return func() { l.leave(s) }
}
