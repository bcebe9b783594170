// Package budget computes how much of a line's time the polls of its units take: before anything runs from what is known of them, and of a
// line in use with the response times it has seen. It is arithmetic; what goes next on a line is decided by package schedule.
package budget

import (
	"time"

	"gatewayd/protocols/modbus"
)

const (
	// Full is the share of its time up to which a line keeps up.
	Full = 1.0
	// Comfort is how far a line should be planned: beyond it, commands, probes of silent units and repeated requests find no room.
	Comfort = 0.9
)

// Line is what units share.
type Line struct {
	Air      func(r modbus.Request) time.Duration // of question and answer with the silence before each; nil: none that counts
	InFlight int                                  // transactions at a time; 0 is 1
	Others   float64                              // share of its time that goes to anything but these polls, 0 to 1
}

// Unit is what one unit asks of its line regularly. Nobody changes it once it is handed out.
type Unit struct {
	Name    string        // its path
	Latency time.Duration // from the end of a request to the beginning of its answer
	Rest    time.Duration // how long it must be left alone after each transaction
	Timeout time.Duration // the longest wait for an answer
	Backoff time.Duration // the longest pause between two probes while it is silent
	Groups  []Group
}

// Group is what is read together.
type Group struct {
	Name     string
	Every    time.Duration
	Requests []modbus.Request
}

// Budget is how a line's time is spent.
type Budget struct {
	Share  float64 // of the line's time that is needed, 1 for all of it
	Units  []UnitShare
	Silent Silent
}

// UnitShare is what one unit takes.
type UnitShare struct {
	*Unit
	Share float64 // of the line's time
	// Own is how much of the unit's own time goes by in its transactions and in the rests after them: beyond 1 it cannot keep up however
	// free the line is.
	Own    float64
	Slack  time.Duration // the least of its groups
	Groups []GroupShare
}

// GroupShare is what one group takes.
type GroupShare struct {
	*Group
	Scan  time.Duration // on the line, for one scan
	Share float64       // of the line's time
	// Slack is how much longer its scans could take until the line, or the unit, had no time left; negative: it has none now.
	Slack time.Duration
	// Worst is how long after its slot a scan has ended at the latest, when all scans of the line are due at the same moment. Beyond Every
	// it may miss slots though the line keeps up. 0: there is no such bound, for the line or the unit does not keep up.
	Worst time.Duration
}

// Silent is the worst that one unit does by falling silent.
type Silent struct {
	Unit  string        // which
	Share float64       // of the line's time that is needed while it is probed
	Pause time.Duration // the longest that others wait for it once
}

// Compute is the budget of a line.
func Compute(line Line, units []Unit) Budget {
	b := Budget{Share: line.Others, Units: make([]UnitShare, len(units))}
	for i := range units {
		b.Units[i] = line.unit(&units[i])
		b.Share += b.Units[i].Share
	}
	for i := range b.Units {
		u := &b.Units[i]
		worst := b.worst(line, u)
		for k := range u.Groups {
			g := &u.Groups[k]
			g.Slack = time.Duration((Full - max(b.Share, u.Own)) * float64(g.Every))
			g.Worst = worst
			if k == 0 || g.Slack < u.Slack {
				u.Slack = g.Slack
			}
		}
	}
	b.Silent = line.silent(b)
	return b
}

// transaction is how long one occupies the line.
func (l Line) transaction(u *Unit, r modbus.Request) time.Duration { return l.onWire(r) + u.Latency }

func (l Line) onWire(r modbus.Request) time.Duration {
	if l.Air == nil {
		return 0
	}
	return l.Air(r)
}

func (l Line) unit(u *Unit) UnitShare {
	s := UnitShare{Unit: u, Groups: make([]GroupShare, len(u.Groups))}
	for i := range u.Groups {
		g := GroupShare{Group: &u.Groups[i]}
		for _, r := range g.Requests {
			g.Scan += l.transaction(u, r)
		}
		at := float64(max(1, l.InFlight))
		g.Share = portion(g.Scan, g.Every) / at
		s.Share += g.Share
		s.Own += portion(g.Scan+time.Duration(len(g.Requests))*u.Rest, g.Every)
		s.Groups[i] = g
	}
	if u.Rest == 0 { // then it is asked as many at a time as the line takes
		s.Own = s.Share
	}
	return s
}

// worst is the longest time that the line, with the rests of one unit, is busy without end, from when all scans are due at once: nobody
// that is due within it ends later, in whatever order they go.
func (b Budget) worst(line Line, u *UnitShare) time.Duration {
	if b.Share >= Full || u.Own >= Full {
		return 0
	}
	begun := func(every, span time.Duration) time.Duration { return max(1, (span+every-1)/every) }
	for span := time.Duration(0); ; {
		var all time.Duration
		for i := range b.Units {
			for _, g := range b.Units[i].Groups {
				n := begun(g.Every, span)
				all += n * g.Scan / time.Duration(max(1, line.InFlight))
				if b.Units[i].Unit == u.Unit {
					all += n * time.Duration(len(g.Requests)) * u.Rest
				}
			}
		}
		all = time.Duration(float64(all) / (Full - line.Others))
		if all <= span {
			return span
		}
		if span = all; span > forever {
			return 0
		}
	}
}

// forever is what no operator waits for.
const forever = 24 * time.Hour

// silent weighs what every unit would take if it were probed, and what it does not take then. Probes have at most their share
// of a line that others need.
func (l Line) silent(b Budget) (worst Silent) {
	const probes = 1.0 / 150 // schedule.QueueConfig.ProbeShare
	for _, u := range b.Units {
		if len(u.Groups) == 0 || len(u.Groups[0].Requests) == 0 {
			continue
		}
		wait := u.Timeout + l.onWire(u.Groups[0].Requests[0])
		s := Silent{Unit: u.Name, Share: b.Share - u.Share + min(probes, portion(wait, u.Backoff)), Pause: wait}
		s.Pause = max(s.Pause, worst.Pause)
		if worst.Unit != "" && s.Share <= worst.Share {
			s.Unit, s.Share = worst.Unit, worst.Share
		}
		worst = s
	}
	return worst
}

func portion(part, of time.Duration) float64 {
	if of <= 0 {
		return 0
	}
	return float64(part) / float64(of)
}
