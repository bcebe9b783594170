package dispatch

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// Leave is the message by which a unit tells its line or link that it will send no more requests.
// Unit is the path of its actor.
type Leave struct{ Unit string }

// ShedNotice is the message by which a line or link tells a unit that one of its scan groups is no
// longer polled at its interval because there is no time for it, or that it is polled at its
// interval again.
type ShedNotice struct {
	Group string
	Cause string // why it is shed; empty: it is polled at its interval again
}

// ledger records how much of a link's time each scan group needs and how much anything else takes,
// and decides which groups are shed.
type ledger struct {
	units    []*account
	scans    []*scan
	over     schedule.Overload
	changes  int           // number of changes of what is shed
	cause    string        // of what is shed now
	others   float64       // share of the time spent on anything but polls that were answered
	spent    time.Duration // time spent on these since judged
	judged   time.Duration // when the link was last judged
	inFlight int           // Config.InFlight
}

// account is what is known of a unit.
type account struct {
	load    *budget.Unit
	latency average
}

// scan is what is known of a scan group.
type scan struct {
	key    string // PollKey
	load   *budget.Unit
	group  *budget.Group
	took   average       // time its requests occupy the link
	asked  time.Duration // when it was last requested
	served time.Duration // when it was last read
	job    *job          // under way; nil: none
}

const (
	// judgeEvery is the minimum time between two judgements of a link.
	judgeEvery = time.Second
	// othersMemory is the time constant of the mean of ledger.others.
	othersMemory = 30 * time.Second
	// lapsed is the number of its intervals after which a group without new requests has no demand.
	lapsed = 3
)

// average is an exponentially weighted moving average.
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

// asked records an Ask, and returns the scan group that it polls, or nil if it polls none.
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

// account finds the unit that has sent this load, or returns nil if the unit is not known yet.
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

// carried records a transaction that was sent and has ended.
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

// ended records when the last request of a poll has ended.
func (l *ledger) ended(j *job, now time.Duration) {
	if j.scan != nil && j.left == 0 {
		j.scan.served = now
	}
}

// demands returns what the scan groups that are still polled need.
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

// judge decides what is shed, at most once per judgeEvery.
func (l *ledger) judge(now time.Duration) {
	span := now - l.judged
	if span < judgeEvery {
		return
	}
	weight := 1 - math.Exp(-span.Seconds()/othersMemory.Seconds())
	l.others += weight * (l.spent.Seconds()/span.Seconds()/float64(l.inFlight) - l.others)
	l.spent, l.judged = 0, now
	if l.over.Judge(now, l.demands(now), l.others) {
		l.changes++
		l.cause = fmt.Sprintf("the line is overloaded: polls need %.0f %% of its time; the slowest are read when there is time", 100*l.over.Share())
	}
}

// Overload describes whether a link can carry all requested polls.
type Overload struct {
	Changes int // grows with every change of Shed
	// PollKeys of the groups that are polled only when there is time; empty: all are polled at
	// their intervals
	Shed  []string
	Share float64 // of the link's time that is requested, as last judged; above 1 the link cannot keep up
	Cause string  // why groups are shed, for operators; empty if none is
}

// Judge decides whether the link keeps up. Done does so too: Judge is for a link with little
// traffic.
func (d *Dispatcher) Judge(now time.Duration) { d.ledger.judge(now) }

// ShedChanges returns Overload().Changes without the cost of the rest.
func (d *Dispatcher) ShedChanges() int { return d.ledger.changes }

// Overload returns the state of the link as last judged.
func (d *Dispatcher) Overload() Overload {
	p := Overload{Changes: d.ledger.changes, Shed: d.ledger.over.Shed(), Share: d.ledger.over.Share()}
	if len(p.Shed) > 0 {
		p.Cause = d.ledger.cause
	}
	return p
}

// Sheds reports whether any group is shed.
func (d *Dispatcher) Sheds() bool { return d.ledger.over.Any() }

// Leave removes the record of a unit's regular requests.
func (d *Dispatcher) Leave(m Leave) { d.ledger.leave(m.Unit) }

// Load returns the line and what its units poll regularly, sorted by name, with the response times
// measured so far.
func (d *Dispatcher) Load() (budget.Line, []budget.Unit) {
	units := make([]budget.Unit, 0, len(d.ledger.units))
	for _, a := range d.ledger.units {
		u := *a.load
		if a.latency.known {
			u.Latency = a.latency.duration()
		}
		units = append(units, u)
	}
	slices.SortFunc(units, func(a, b budget.Unit) int { return strings.Compare(a.Name, b.Name) })
	return budget.Line{Air: d.config.Air, InFlight: d.config.InFlight, Others: d.ledger.others}, units
}
