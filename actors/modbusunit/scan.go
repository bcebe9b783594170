package modbusunit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
)

// tick starts a slot of a group. The first tick is no slot. If a scan that began between two slots
// is still under way, neither the first tick nor the next slot counts as missed.
func (u *unit) tick(c *actors.Context, name string) {
	g, p := named(u.groups, name), u.pace(name)
	if g == nil || p == nil {
		return
	}
	slot := p.began
	p.began = true
	switch {
	case u.breaker.Open():
		if !g.busy {
			u.probe(c, g)
		}
		u.stale(c, g, u.quarantine())
	case !g.busy:
		u.scan(c, g, slot)
	case !slot:
	case g.extra:
		g.extra = false
	case g.shed != "":
		c.Missed()
		u.stale(c, g, g.shed)
	// The scan waits longer than usual for answers, or leaves the unit alone for a while.
	case u.breaker.Failures() > 0:
		u.stale(c, g, u.why)
	default:
		c.Missed()
	}
}

// stale publishes the samples of a slot in which the unit was not read.
func (u *unit) stale(c *actors.Context, g *group, cause string) {
	g.keepAll(cause, time.Now())
	g.overtook = g.busy
	u.publish(c, g)
}

// scan sends all reads of a group.
func (u *unit) scan(c *actors.Context, g *group, slot bool) {
	g.busy, g.overtook, g.extra = true, false, !slot
	requests, limit := u.requests(g), u.cfg.Timeout.AsDuration()
	// On a busy line a scan may wait for longer than its interval. Slots are missed then; the scan
	// must not expire as well.
	wait := g.every + 10*time.Second + time.Duration(len(requests))*limit
	patience := wait + 5*time.Second + 4*limit
	if g.shed != "" { // a shed poll does not expire
		patience += overloaded
	}
	ask := g.spare
	if g.spare = nil; ask == nil {
		ask = &dispatch.Ask{Class: schedule.Poll, Key: g.key, Tag: g}
	}
	ask.Rest, ask.Expires, ask.Requests, ask.Timeouts = u.cfg.Rest.AsDuration(), time.Now().Add(wait), requests, u.patience(len(requests), g.every, ask.Timeouts[:0])
	ask.Load, ask.Group = u.load(c), slices.Index(u.groups, g)
	c.Ask(u.cfg.Link, ask, patience)
}

// overloaded is how much longer a scan may take if the link reads the group only when there is
// time.
const overloaded = 15 * time.Minute

// shed notes that the link has started or stopped shedding a scan group.
func (u *unit) shed(c *actors.Context, m dispatch.ShedNotice) {
	if g := named(u.groups, m.Group); g != nil {
		g.shed = m.Cause
		u.say(c)
	}
}

// patience appends to t the timeouts of up to n requests, for the case that none before is
// answered. It stops where the unit would count as silent, and where the next slot begins.
func (u *unit) patience(n int, every time.Duration, t []time.Duration) []time.Duration {
	b, sum := u.breaker, time.Duration(0)
	for len(t) < n && !b.Open() {
		d := b.Timeout()
		if sum += d; len(t) > 0 && sum > every {
			break
		}
		t = append(t, d)
		b.Observe(schedule.NoAnswer, 0, u.now())
	}
	return t
}

// probe checks whether a silent unit is back, if a probe is due.
func (u *unit) probe(c *actors.Context, g *group) {
	if u.probing {
		return
	}
	if _, ok := u.breaker.Allow(u.now()); !ok {
		return
	}
	u.probing = true
	limit := u.breaker.Timeout()
	// Probes wait for their small share of the line, behind the probes of all other silent units.
	const wait = 5 * time.Minute
	c.Ask(u.cfg.Link, &dispatch.Ask{
		Class: schedule.Probe, Key: c.Name(), Rest: u.cfg.Rest.AsDuration(), Expires: time.Now().Add(wait),
		Requests: g.requests[:1], Timeouts: []time.Duration{limit}, Tag: probe{u.cfg.Link, u.cfg.Unit}, Load: u.load(c),
	}, wait+5*time.Second+4*limit)
}

const quarantined = "quarantined"

// quarantine returns the cause of samples while the unit is only probed. It never names a time in
// the past.
func (u *unit) quarantine() string {
	until, now := u.breaker.Until(), u.now()
	if until <= now { // the probe is due, but its turn on the line has not come yet
		return quarantined + ", and being asked again"
	}
	if until != u.until || u.words == "" {
		at := time.Now().Add(until - now + time.Second - 1) // rounded up to the whole second
		u.until, u.words = until, quarantined+" until "+at.Format("15:04:05")
	}
	return u.words
}

// answered handles the answer to an Ask.
func (u *unit) answered(c *actors.Context, a *dispatch.Answer) {
	switch tag := a.Ask.Tag.(type) {
	case *group:
		tag.busy = false
		if named(u.groups, tag.name) == tag {
			tag.shed = a.Shed
			u.scanned(c, tag, a.Results)
		}
	case probe:
		if tag.link == u.cfg.Link && tag.unit == u.cfg.Unit {
			u.probed(c, &a.Results[0])
		}
	case then:
		u.learn(c, a.Results)
		tag(c, &a.Results[0])
	}
}

func (u *unit) scanned(c *actors.Context, g *group, results []dispatch.Result) {
	polled, back := u.tried(g, results)
	v := g.fill(polled)
	u.adapt(g, polled)
	if back != nil && g.cuts != nil {
		u.join(g, *back)
	}
	u.learn(c, results)
	g.trouble = v.summary(len(g.points))
	u.publish(c, g)
	if v.answered > 0 || v.alive {
		c.Worked()
	}
	u.say(c)
}

func (u *unit) publish(c *actors.Context, g *group) {
	list, all := g.due(time.Now())
	n := len(list)
	if all {
		n = len(g.points)
	}
	if n == 0 {
		return
	}
	g.sequence++
	m := u.shared.form(n)
	m.Sequence, m.Life = g.sequence, c.Life()
	g.write(m, list, all)
	if !c.Publish(g.name, m) {
		g.sent = nil // what was not published is due again in the next slot
	}
	u.shared.forms.Give(m)
}

func (u *unit) probed(c *actors.Context, r *dispatch.Result) {
	u.probing = false
	u.learn(c, []dispatch.Result{*r})
	u.say(c)
}

// learn updates the unit's state from the outcomes of transactions. When the unit is back, it reads
// all groups at once.
func (u *unit) learn(c *actors.Context, results []dispatch.Result) {
	was := u.breaker.Open()
	u.down = ""
	for i := range results {
		r := &results[i]
		u.breaker.Observe(r.Outcome, r.Took, u.now())
		if r.Outcome == schedule.NoAnswer || r.Outcome == schedule.Garbled {
			u.why = r.Cause()
		}
		if r.Err == nil {
			continue
		}
		var d *dispatch.Down
		if errors.As(r.Err, &d) {
			u.down = d.Cause
		} else if !was && u.breaker.Open() && u.silent == "" {
			u.silent = fmt.Sprintf("no answer since %s: %s", time.Now().Format("15:04:05"), r.Cause())
		}
	}
	if u.breaker.Open() || !was {
		return
	}
	u.silent = ""
	for _, g := range u.groups {
		if g.busy {
			continue
		}
		if g.cuts != nil {
			u.whole(g)
		}
		u.scan(c, g, false)
	}
}

// say reports the unit's health.
func (u *unit) say(c *actors.Context) {
	switch {
	case u.down != "":
		c.Unreachable(u.down)
		return
	case u.breaker.Open():
		c.Unreachable(u.silent)
		u.complain(c, actors.Unreachable, u.silent)
		return
	}
	for _, g := range u.groups {
		if g.trouble != "" {
			c.Degraded(g.trouble)
			u.complain(c, actors.Degraded, g.trouble)
			return
		}
	}
	u.ill = ""
	for _, g := range u.groups {
		if g.shed != "" {
			c.Degraded(g.name + ": " + g.shed)
			return
		}
	}
	c.OK()
}

// lost returns an answer in place of one that the link did not send.
func lost(ask *dispatch.Ask, err error) *dispatch.Answer {
	a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, len(ask.Requests))}
	for i := range a.Results {
		a.Results[i] = dispatch.Result{Err: err, Outcome: schedule.NotSent, At: time.Now()}
	}
	return a
}
