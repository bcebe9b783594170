package dispatch

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// shop is a link in virtual time with units that ask once per interval.
type shop struct {
	dispatcher *Dispatcher
	now        time.Duration
	took       time.Duration // per transaction
	polls      []*poll
	silent     uint8 // a unit that does not answer
}

type poll struct {
	load   *budget.Unit
	due    time.Duration
	busy   bool
	missed int
	scans  int
	shed   string
	slow   int // answers that reported it
}

func newShop(every ...time.Duration) *shop {
	s := &shop{dispatcher: New(Config{}), took: 10 * time.Millisecond}
	for i, d := range every {
		unit := uint8(i + 1)
		s.polls = append(s.polls, &poll{due: d / 7, load: &budget.Unit{Name: fmt.Sprintf("meter-%d", unit), Groups: []budget.Group{{
			Name: "points", Every: d, Requests: ask(schedule.Poll, unit, unit).Requests,
		}}}})
	}
	return s
}

func (s *shop) ask(p *poll) {
	if p.busy {
		p.missed++
		return
	}
	p.busy = true
	a := &Ask{Class: schedule.Poll, Key: p.load.Name, Load: p.load, Requests: p.load.Groups[0].Requests, Expires: time.Now().Add(time.Hour)}
	s.dispatcher.Submit(a, s.now, func(a *Answer) {
		p.busy, p.shed = false, a.Shed
		p.scans++
		if a.Shed != "" {
			p.slow++
		}
	})
}

func (s *shop) run(until time.Duration) {
	for s.now < until {
		next := until
		for _, p := range s.polls {
			for ; p.due <= s.now; p.due += p.load.Groups[0].Every {
				s.ask(p)
			}
			next = min(next, p.due)
		}
		w, wait := s.dispatcher.Next(s.now)
		if w == nil {
			if wait > 0 {
				next = min(next, s.now+wait)
			}
			s.now = next
			continue
		}
		pretend(w, func(r modbus.Request) error {
			if r.Unit == s.silent {
				return modbus.ErrTimeout
			}
			return nil
		})
		for _, p := range w.parts {
			p.busy, p.res.Took = s.took, s.took
		}
		s.now += s.took
		s.dispatcher.Done(w, s.now)
	}
}

// A line whose units become too slow sheds the slowest groups, and restores their intervals when
// there is time again.
func TestALineThatCannotKeepUpShedsTheSlowest(t *testing.T) {
	s := newShop(time.Second, 500*time.Millisecond, 2*time.Second)
	s.run(time.Minute)
	if p := s.dispatcher.Overload(); s.dispatcher.Sheds() || p.Changes != 0 {
		t.Fatalf("at seven hundredths of its time: %+v", p)
	}
	s.took = 160 * time.Millisecond // 0.32 + 0.64 + 0.16
	s.run(s.now + time.Minute)
	if p := s.dispatcher.Overload(); len(p.Shed) != 1 || p.Shed[0] != "meter-3" || p.Changes != 1 || p.Cause == "" || p.Share < 1.05 || p.Share > 1.2 {
		t.Fatalf("%+v", p)
	}
	for _, p := range s.polls {
		p.missed, p.scans, p.slow = 0, 0, 0
	}
	// 0.3 + 0.6 + 0.15: what is left for the slowest is enough for most of its slots.
	s.took = 150 * time.Millisecond
	s.run(s.now + 10*time.Minute)
	for i, p := range s.polls[:2] {
		if p.missed > 0 || p.slow > 0 {
			t.Errorf("unit %d, which keeps its rhythm: %d slots missed, %d answers say that it does not", i+1, p.missed, p.slow)
		}
	}
	if p := s.polls[2]; p.missed == 0 || p.slow != p.scans || p.scans < 60 {
		t.Errorf("the slowest: %d slots missed, %d of %d answers say why", p.missed, p.slow, p.scans)
	}
	s.took = 10 * time.Millisecond
	s.run(s.now + time.Minute)
	if p := s.dispatcher.Overload(); len(p.Shed) > 0 || p.Changes != 2 || p.Cause != "" || s.polls[2].shed != "" {
		t.Errorf("with time again: %+v, and the slowest is told %q", p, s.polls[2].shed)
	}
}

func TestTheLoadIsWhatUnitsAskAndHaveShown(t *testing.T) {
	s := newShop(time.Second, time.Minute)
	s.run(2 * time.Minute)
	_, units := s.dispatcher.Load()
	if len(units) != 2 || units[0].Name != "meter-1" || (units[0].Latency-10*time.Millisecond).Abs() > time.Microsecond {
		t.Fatalf("%+v", units)
	}
	s.dispatcher.Leave(Leave{"meter-1"})
	if _, units := s.dispatcher.Load(); len(units) != 1 || units[0].Name != "meter-2" {
		t.Fatalf("%+v", units)
	}
}

// A unit that does not answer takes time on the line, but never causes another one to be shed.
func TestASilentUnitIsNoOverload(t *testing.T) {
	s := newShop(time.Second, 500*time.Millisecond)
	s.took, s.silent = 100*time.Millisecond, 1
	s.run(time.Minute)
	if p := s.dispatcher.Overload(); p.Changes != 0 {
		t.Fatalf("%+v", p)
	}
	if line, _ := s.dispatcher.Load(); line.Others < 0.05 {
		t.Errorf("requests without answer take %.2f of the time", line.Others)
	}
}
