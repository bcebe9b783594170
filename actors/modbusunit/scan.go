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

// tick begins a group's slot. The first tick is no slot; neither it nor the slot
// after it is missed if a scan is still under way that began in between.
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
	case u.breaker.Failures() > 0: // it is waited for longer than usual, or left alone for a while
		u.stale(c, g, u.why)
	default:
		c.Missed()
	}
}

// stale publishes a slot of a unit that does not answer.
func (u *unit) stale(c *actors.Context, g *group, cause string) {
	g.keepAll(cause, time.Now())
	g.overtook = g.busy
	u.publish(c, g)
}

// scan asks for all reads of a group.
func (u *unit) scan(c *actors.Context, g *group, slot bool) {
	g.busy, g.overtook, g.extra = true, false, !slot
	requests, limit := u.requests(g), u.cfg.Timeout.AsDuration()
	// On a line with too much to do a scan may wait for others for longer than its rhythm: slots are missed then, but none is lost twice.
	wait := g.every + 10*time.Second + time.Duration(len(requests))*limit
	patience := wait + 5*time.Second + 4*limit
	if g.shed != "" { // it does not expire
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

// overloaded is how much longer a scan may take that the link carries only when there is time.
const overloaded = 15 * time.Minute

// shed notes that the link has begun or ceased to shed a scan group.
func (u *unit) shed(c *actors.Context, m dispatch.ShedNotice) {
	if g := named(u.groups, m.Group); g != nil {
		g.shed = m.Cause
		u.say(c)
	}
}

// patience is how long each of n requests waits if none before it is
// answered, appended to t; it ends where the unit counts as silent, and where the
// next slot begins.
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

// probe asks a silent unit whether it is back, if it is time to.
func (u *unit) probe(c *actors.Context, g *group) {
	if u.probing {
		return
	}
	if _, ok := u.breaker.Allow(u.now()); !ok {
		return
	}
	u.probing = true
	limit := u.breaker.Timeout()
	// Probes wait for their small share of the line, behind those of all other silent units.
	const wait = 5 * time.Minute
	c.Ask(u.cfg.Link, &dispatch.Ask{
		Class: schedule.Probe, Key: c.Name(), Rest: u.cfg.Rest.AsDuration(), Expires: time.Now().Add(wait),
		Requests: g.requests[:1], Timeouts: []time.Duration{limit}, Tag: probe{u.cfg.Link, u.cfg.Unit}, Load: u.load(c),
	}, wait+5*time.Second+4*limit)
}

const quarantined = "quarantined"

// quarantine is the cause of samples while the unit is only probed. It names no
// moment that has passed.
func (u *unit) quarantine() string {
	until, now := u.breaker.Until(), u.now()
	if until <= now { // its turn on the line has not come yet, or is just now
		return quarantined + ", and being asked again"
	}
	if until != u.until || u.words == "" {
		at := time.Now().Add(until - now + time.Second - 1) // the whole second after it
		u.until, u.words = until, quarantined+" until "+at.Format("15:04:05")
	}
	return u.words
}

// answered takes what an Ask has brought.
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
		g.sent = nil // what nobody has heard of is news in the next slot
	}
	u.shared.forms.Give(m)
}

func (u *unit) probed(c *actors.Context, r *dispatch.Result) {
	u.probing = false
	u.learn(c, []dispatch.Result{*r})
	u.say(c)
}

// learn judges the unit by how transactions have ended. When it is back all its
// groups are read at once.
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

// say tells the unit's health.
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

// lost is the answer to an Ask that the link did not answer.
func lost(ask *dispatch.Ask, err error) *dispatch.Answer {
	a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, len(ask.Requests))}
	for i := range a.Results {
		a.Results[i] = dispatch.Result{Err: err, Outcome: schedule.NotSent, At: time.Now()}
	}
	return a
}
