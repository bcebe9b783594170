package wire

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// Leave is the message by which a unit tells its line or link that it asks for nothing any more.
type Leave struct{ Unit string }

// Rhythm is the message by which a line or link tells a unit that one of its groups has lost its rhythm, and why, or has it back.
type Rhythm struct {
	Group string
	Shed  string // empty: it has it back
}

// ledger knows who asks for how much of a link's time, and what the others cost.
type ledger struct {
	units    []*account
	scans    []*scan
	over     schedule.Overload
	turns    int    // how often what is shed has changed
	cause    string // of what is shed now
	others   float64
	spent    time.Duration // on others since it was last judged
	judged   time.Duration
	inFlight int
}

// account is that of a unit.
type account struct {
	load    *budget.Unit
	latency average
}

// scan is what is known of a group.
type scan struct {
	key    string
	load   *budget.Unit
	group  *budget.Group
	took   average
	asked  time.Duration
	served time.Duration // when its last scan had ended
	job    *job          // the last; nil: it has ended
}

const (
	// rhythm is how often a link is judged.
	rhythm = time.Second
	// memory is how long what others cost is remembered.
	memory = 30 * time.Second
	// lapsed is after how many of its intervals a group that does not ask has no demand.
	lapsed = 3
)

// average is a mean of which the last values weigh most.
type average struct {
	seconds float64
	known   bool
}

func (a *average) learn(d time.Duration) {
	const weight = 1.0 / 8
	if !a.known {
		*a = average{d.Seconds(), true}
		return
	}
	a.seconds += weight * (d.Seconds() - a.seconds)
}

func (a average) duration() time.Duration { return time.Duration(a.seconds * float64(time.Second)) }

// asked notes an Ask; nil: it has no rhythm.
func (l *ledger) asked(j *job, now time.Duration) *scan {
	ask := j.answer.Ask
	if ask.Load == nil {
		return nil
	}
	a := l.account(ask.Load)
	if a == nil {
		a = &account{}
		l.units = append(l.units, a)
	}
	a.load = ask.Load
	if ask.Class != schedule.Poll || ask.Key == "" || ask.Group >= len(ask.Load.Groups) {
		return nil
	}
	i := slices.IndexFunc(l.scans, func(s *scan) bool { return s.key == ask.Key })
	if i < 0 {
		i = len(l.scans)
		l.scans = append(l.scans, &scan{key: ask.Key, served: now})
	}
	s := l.scans[i]
	s.load, s.group, s.asked, s.job = ask.Load, &ask.Load.Groups[ask.Group], now, j
	return s
}

// account is that of the unit which says this of itself; nil: it has not asked yet.
func (l *ledger) account(load *budget.Unit) *account {
	for _, a := range l.units {
		if a.load == load || a.load.Name == load.Name {
			return a
		}
	}
	return nil
}

func (l *ledger) leave(unit string) {
	l.units = slices.DeleteFunc(l.units, func(a *account) bool { return a.load.Name == unit })
	l.scans = slices.DeleteFunc(l.scans, func(s *scan) bool { return s.load.Name == unit })
}

// carried notes a transaction of which the job has the sum.
func (l *ledger) carried(p *part, now time.Duration) {
	j := p.job
	answered := p.res.Outcome == schedule.Answered || p.res.Outcome == schedule.Exception
	if j.load != nil && answered {
		if a := l.account(j.load); a != nil {
			a.latency.learn(p.res.Took)
		}
	}
	if j.scan == nil || !answered {
		j.failed = true
		l.spent += p.busy
	}
	j.took += p.busy
	l.ended(j, now)
	if j.scan != nil && j.left == 0 && !j.failed {
		j.scan.took.learn(j.took)
	}
}

// ended notes a job that may have ended.
func (l *ledger) ended(j *job, now time.Duration) {
	if j.scan != nil && j.left == 0 {
		j.scan.served = now
	}
}

// demands are those of the groups that ask.
func (l *ledger) demands(now time.Duration) []schedule.Demand {
	all := make([]schedule.Demand, 0, len(l.scans))
	for _, s := range l.scans {
		if s.job == nil && now-s.asked > lapsed*s.group.Every || !s.took.known {
			continue
		}
		d := schedule.Demand{Key: s.key, Unit: s.group.Requests[0].Unit, Every: s.group.Every}
		d.Share = s.took.seconds / s.group.Every.Seconds() / float64(l.inFlight)
		d.Own = d.Share
		if s.load.Rest > 0 {
			d.Own = (s.took.seconds + float64(len(s.group.Requests))*s.load.Rest.Seconds()) / s.group.Every.Seconds()
		}
		all = append(all, d)
	}
	return all
}

// judge decides what is shed.
func (l *ledger) judge(now time.Duration) {
	span := now - l.judged
	if span < rhythm {
		return
	}
	weight := 1 - math.Exp(-span.Seconds()/memory.Seconds())
	l.others += weight * (l.spent.Seconds()/span.Seconds()/float64(l.inFlight) - l.others)
	l.spent, l.judged = 0, now
	if l.over.Judge(now, l.demands(now), l.others) {
		l.turns++
		l.cause = fmt.Sprintf("the line is overloaded, polls need %.0f %% of its time: the slowest are read when there is time", 100*l.over.Share())
	}
}

// Pressure is how a link copes with what it is asked.
type Pressure struct {
	Turns int      // changes with every change of what is shed
	Shed  []string // keys of the groups that are read only when there is time; empty: all keep their rhythm
	Share float64  // of its time that is asked for, as last judged
	Cause string   // in words, if anything is shed
}

// Judge looks whether the link keeps up. Done does so too; it is for a link on which little happens.
func (c *Carrier) Judge(now time.Duration) { c.ledger.judge(now) }

// Turns is the Pressure's, at no cost.
func (c *Carrier) Turns() int { return c.ledger.turns }

// Pressure is how the link copes.
func (c *Carrier) Pressure() Pressure {
	p := Pressure{Turns: c.ledger.turns, Shed: c.ledger.over.Shed(), Share: c.ledger.over.Share()}
	if len(p.Shed) > 0 {
		p.Cause = c.ledger.cause
	}
	return p
}

// Sheds says whether it sheds anything.
func (c *Carrier) Sheds() bool { return c.ledger.over.Any() }

// Leave forgets what a unit asks for.
func (c *Carrier) Leave(m Leave) { c.ledger.leave(m.Unit) }

// Load is the line as it is, and what its units ask of it regularly, with the response times that they have shown, in the order of their
// names.
func (c *Carrier) Load() (budget.Line, []budget.Unit) {
	units := make([]budget.Unit, 0, len(c.ledger.units))
	for _, a := range c.ledger.units {
		u := *a.load
		if a.latency.known {
			u.Latency = a.latency.duration()
		}
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b budget.Unit) int { return strings.Compare(a.Name, b.Name) })
	return budget.Line{Air: c.config.Air, InFlight: c.config.InFlight, Others: c.ledger.others}, units
}
