// Package budget computes how much of a line's time the polls of its units take: before startup
// from what is known of the units, and for a line in use with the measured response times. It only
// computes; package schedule decides what is sent next on a line.
package budget

import (
	"time"

	"gatewayd/protocols/modbus"
)

const (
	// Full is the share of its time up to which a line keeps up.
	Full = 1.0
	// Comfort is the share up to which a line should be planned. Beyond it there is no room for
	// commands, probes of silent units and retries.
	Comfort = 0.9
)

// Line is a line or link that units share.
type Line struct {
	// Air returns the time of a request and its answer, including the silence before each; nil:
	// negligible.
	Air      func(r modbus.Request) time.Duration
	InFlight int     // concurrent transactions; 0 means 1
	Others   float64 // share of its time spent on anything but these polls, 0 to 1
}

// Unit is what one unit regularly asks of its line. It must not be modified once it has been handed
// out.
type Unit struct {
	Name    string        // path of its actor
	Latency time.Duration // from the end of a request to the beginning of its answer
	Rest    time.Duration // how long it must be left alone after each transaction
	Timeout time.Duration // the longest wait for an answer
	Backoff time.Duration // the longest pause between two probes while it is silent
	Groups  []Group
}

// Group is a set of requests that are read together.
type Group struct {
	Name     string
	Every    time.Duration
	Requests []modbus.Request
}

// Budget shows how a line's time is spent.
type Budget struct {
	Share  float64 // share of the line's time needed; 1 is all of it
	Units  []UnitShare
	Silent Silent
}

// UnitShare is the part of a Budget that one unit takes.
type UnitShare struct {
	*Unit
	Share float64 // of the line's time
	// Own is the share of the unit's own time taken by its transactions and the rests after them.
	// Beyond 1 the unit cannot keep up, however free the line is.
	Own    float64
	Slack  time.Duration // the smallest Slack of its groups
	Groups []GroupShare
}

// GroupShare is the part of a Budget that one group takes.
type GroupShare struct {
	*Group
	Scan  time.Duration // time of one scan on the line
	Share float64       // of the line's time
	// Slack is how much longer its scans could take before the line, or the unit, had no time left;
	// negative: there is none left now.
	Slack time.Duration
	// Worst is the longest time from the slot of a scan to its end if all scans of the line are due
	// at the same moment. If it exceeds Every, the group may miss slots although the line keeps up.
	// 0: there is no such bound, because the line or the unit does not keep up.
	Worst time.Duration
}

// Silent describes the worst effect of a single unit falling silent.
type Silent struct {
	Unit  string        // the unit with the largest Share
	Share float64       // share of the line's time needed while that unit is probed
	Pause time.Duration // the longest time that other units wait for one probe
}

// Compute returns the budget of a line.
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

// transaction returns how long one transaction occupies the line.
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
	if u.Rest == 0 { // its requests may then run concurrently
		s.Own = s.Share
	}
	return s
}

// worst returns the longest time for which the line, including the rests of one unit, is
// continuously busy if all scans become due at once. A scan that becomes due within that time ends
// within it, in whatever order the scans run.
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

// forever is longer than any bound of interest.
const forever = 24 * time.Hour

// silent finds the unit whose silence costs the line the most: it adds what probing the unit would
// take and subtracts what its polls no longer take. Probes are limited to a fixed share of a line
// that others need.
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
