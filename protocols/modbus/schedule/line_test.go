package schedule

import (
	"math"
	"testing"
	"time"
)

// line is a serial line in virtual time: one transaction at a time, a queue, and a breaker for each
// unit. Units up to healthy answer after 10 ms, the others never. Each unit sends its next request
// as soon as it may, so that the line is always full.
type line struct {
	queue    *Queue[bool]
	breakers map[uint8]*Breaker
	healthy  uint8
	now      time.Duration
	answers  int
	revived  bool
	every    time.Duration // of healthy units; 0: as soon as they may
	due      map[uint8]time.Duration
}

func newLine(healthy, silent uint8) *line {
	l := &line{queue: NewQueue[bool](QueueConfig{}), breakers: map[uint8]*Breaker{}, healthy: healthy, due: map[uint8]time.Duration{}}
	for unit := range healthy + silent {
		b := NewBreaker(BreakerConfig{Seed: uint64(unit)})
		l.breakers[unit] = &b
	}
	return l
}

func (l *line) run(until time.Duration) (answers int) {
	l.answers = 0
	for l.now < until {
		for unit := range uint8(len(l.breakers)) {
			l.ask(unit)
		}
		item, wait, ok := l.queue.Next(l.now)
		if !ok {
			l.now += l.idle(wait)
			continue
		}
		l.transact(item)
	}
	return l.answers
}

// idle returns how long nothing happens when the queue says wait, at least a millisecond.
func (l *line) idle(wait time.Duration) time.Duration {
	if wait <= 0 {
		wait = time.Second
	}
	for unit, b := range l.breakers {
		wait = min(wait, max(b.Until()-l.now, l.due[unit]-l.now, time.Millisecond))
	}
	return wait
}

func (l *line) ask(unit uint8) {
	if unit < l.healthy && l.every > 0 {
		if l.now < l.due[unit] {
			return
		}
		// A poll that still waits is replaced: its slot is missed.
		l.due[unit] = max(l.due[unit]+l.every, l.now-l.now%l.every+l.every)
	}
	b := l.breakers[unit]
	if b.Open() && l.now < b.Until() {
		return
	}
	item := Item[bool]{Unit: unit, Class: Poll, Key: "all"}
	if b.Open() {
		b.Allow(l.now)
		item.Class = Probe
	}
	l.queue.Push(item)
}

func (l *line) transact(item Item[bool]) {
	b := l.breakers[item.Unit]
	outcome, took := NoAnswer, b.Timeout()
	if item.Unit < l.healthy || l.revived {
		outcome, took = Answered, 10*time.Millisecond
		l.answers++
	}
	l.now += took
	b.Observe(outcome, took, l.now)
	l.queue.Done(item.Unit, l.now, outcome)
}

// On a full line, silent units cost the healthy ones at most one answer in a hundred, however many
// they are.
func TestSilentUnitsCostAFullLineOnePartInHundred(t *testing.T) {
	for _, silent := range []uint8{1, 20, 60} {
		alone, beside := newLine(20, 0), newLine(20, silent)
		before := float64(beside.run(15*time.Minute)) / float64(alone.run(15*time.Minute))
		want, got := alone.run(30*time.Minute), beside.run(30*time.Minute)
		ratio := float64(got) / float64(want)
		t.Logf("%d silent: %.4f of the answers, %.4f while the breakers opened", silent, ratio, before)
		if ratio < 0.99 || before < 0.7 {
			t.Errorf("%d silent units leave %.4f of %d answers, %.4f while their breakers opened", silent, ratio, want, before)
		}
		least := math.MaxInt
		beside.revived = true
		for range 400 {
			beside.run(beside.now + time.Second)
			open := 0
			for _, b := range beside.breakers {
				if b.Open() {
					open++
				}
			}
			if least = min(least, open); open == 0 {
				break
			}
		}
		if least > 0 {
			t.Errorf("of %d units that came back %d are still open", silent, least)
		}
	}
}
