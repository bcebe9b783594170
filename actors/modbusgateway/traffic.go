package modbusgateway

import (
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func traffic(n *share.Counts) *modbusv1.TrafficResponse {
	return &modbusv1.TrafficResponse{
		Forwarded: n.Forwarded.Load(), Cached: n.Cached.Load(), Shared: n.Shared.Load(), Swallowed: n.Swallowed.Load(),
		Forbidden: n.Forbidden.Load(), Unrouted: n.Unrouted.Load(), Busy: n.Busy.Load(), Down: n.Down.Load(), Silent: n.Silent.Load(),
	}
}

// given is the Tag of an Ask.
type given struct {
	link string
	desk *desk
	*transaction
}

// take takes a request of a master.
func (g *gateway) take(c *actors.Context, m *asked) {
	switch {
	case m.route.to != "":
		g.through(c, m)
	case g.cfg.Firewall != "" || m.request.Write():
		g.judge(c, m)
	default:
		g.queue(c, m, m.request, m.waiter)
	}
}

// queue queues a request for the line or link.
func (g *gateway) queue(c *actors.Context, m *asked, r modbus.Request, w waiter) {
	d := g.desks[m.route.link]
	if d == nil {
		d = share.NewDesk[*server.Master, waiter](int(g.cfg.Outstanding))
		g.desks[m.route.link] = d
	}
	t := &transaction{Request: r, Rest: m.route.restAfter(r), Waiting: []waiter{w}, Until: g.now() + g.cfg.Patience.AsDuration()}
	if !m.request.Write() { // what reads a write back is as it is now
		t.Keep = m.route.cache
	}
	verdict, answer := d.Take(m.master, t, g.now())
	switch verdict {
	case share.Known:
		g.counts.Cached.Add(1)
		g.tell(c, t, &dispatch.Result{Response: answer})
	case share.Joined:
		g.counts.Shared.Add(1)
	case share.Full:
		g.tell(c, t, &dispatch.Result{Err: errBusy})
	case share.Queued:
		g.next(c, m.route.link, d)
	}
}

// next hands to a line or link what it may have.
func (g *gateway) next(c *actors.Context, link string, d *desk) {
	for {
		t, late := d.Next(g.now(), func(w waiter) bool { return w.later.Gone() })
		for _, l := range late {
			g.tell(c, l, &dispatch.Result{Err: errBusy})
		}
		if t == nil {
			return
		}
		g.counts.Forwarded.Add(1)
		r := t.Request
		class := schedule.Interactive
		if r.Write() {
			class = schedule.Write
		}
		// The line may be busy with others, and a silent unit cost them a while; whoever waits has waited already.
		wait := g.cfg.Patience.AsDuration()
		c.Ask(link, &dispatch.Ask{
			Class: class, Rest: t.Rest, Expires: time.Now().Add(wait), Requests: []modbus.Request{r},
			Timeouts: []time.Duration{r.Timeout}, Tag: given{link, d, t},
		}, wait+4*r.Timeout+5*time.Second)
	}
}

// answered tells who waits what the unit has said, or why it has not.
func (g *gateway) answered(c *actors.Context, a *dispatch.Answer) {
	t, res := a.Ask.Tag.(given), &a.Results[0]
	t.desk.Heed(a.Tap)
	t.desk.Done(t.transaction, res.Err == nil, res.Response, g.now())
	if res.Err == nil {
		c.Worked()
	}
	g.tell(c, t.transaction, res)
	g.next(c, t.link, t.desk)
}

// failed is a link that does not answer at all, or a life that cannot go on.
func (g *gateway) failed(c *actors.Context, m actors.Failed) error {
	if through, ok := m.Of.(*dispatch.Transact); ok {
		g.denied(through.Tag.(*asked), m.Err)
		return nil
	}
	ask, ok := m.Of.(*dispatch.Ask)
	if !ok {
		if g.doors.Take(c, m) {
			return nil
		}
		return m.Err
	}
	t := ask.Tag.(given)
	t.desk.Done(t.transaction, false, modbus.Response{}, g.now())
	g.tell(c, t.transaction, &dispatch.Result{Err: &linkError{m.Err}, Outcome: schedule.NotSent})
	g.next(c, t.link, t.desk)
	return nil
}

// tell tells all who wait how a transaction has ended.
func (g *gateway) tell(c *actors.Context, t *transaction, r *dispatch.Result) {
	for _, w := range t.Waiting {
		if w.then != nil {
			w.then(c, r)
		} else {
			g.reply(w, r)
		}
	}
}

// reply tells a master how his request has ended.
func (g *gateway) reply(w waiter, r *dispatch.Result) {
	if r.Err != nil {
		g.refuse(w, exceptionOf(r))
		return
	}
	w.later.Reply(respond(nil, w.request, r.Response))
}

// refuse answers with an exception.
func (g *gateway) refuse(w waiter, code uint8) {
	switch code {
	case modbus.DeviceBusy:
		g.counts.Busy.Add(1)
	case modbus.GatewayPath:
		g.counts.Down.Add(1)
	case modbus.GatewayTarget:
		g.counts.Silent.Add(1)
	}
	w.later.Refuse(code)
}

// errBusy is why a request was not sent that had no turn in time, or whose
// master has gone.
var errBusy = dispatch.NotSent("no turn within patience, or too many requests")

// linkError is what the actor of a line or link has not answered with.
type linkError struct{ error }

func (e *linkError) Unwrap() error { return e.error }

// exceptionOf is the exception that tells a master how a transaction has ended.
func exceptionOf(r *dispatch.Result) uint8 {
	var e *modbus.Exception
	var d *dispatch.Down
	var l *linkError
	switch {
	case errors.As(r.Err, &e):
		return e.Code
	case errors.As(r.Err, &d), errors.As(r.Err, &l):
		return modbus.GatewayPath
	case r.Outcome == schedule.NoAnswer, r.Outcome == schedule.Garbled:
		return modbus.GatewayTarget
	case errors.Is(r.Err, modbus.ErrOwed), errors.Is(r.Err, modbus.ErrBroadcast):
		return modbus.GatewayTarget
	case modbus.LinkLost(r.Err):
		return modbus.GatewayPath
	}
	return modbus.DeviceBusy // the line had no time for it
}
