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

// given is the Tag of an Ask: it identifies the transaction to which an answer belongs.
type given struct {
	link string
	desk *scheduler
	*transaction
}

// take handles a request of a master.
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
	d := g.schedulers[m.route.link]
	if d == nil {
		d = share.NewScheduler[*server.Master, waiter](int(g.cfg.Outstanding))
		g.schedulers[m.route.link] = d
	}
	t := &transaction{Request: r, Rest: m.route.restAfter(r), Waiting: []waiter{w}, Until: g.now() + g.cfg.QueueTimeout.AsDuration()}
	if !m.request.Write() { // reads that verify a write must not be kept for others
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

// next hands transactions to a line or link, as many as may be outstanding.
func (g *gateway) next(c *actors.Context, link string, d *scheduler) {
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
		// The line may be busy with other requests that take up to a timeout each, so the line
		// itself gets the full patience again in addition to the time the request has waited here.
		wait := g.cfg.QueueTimeout.AsDuration()
		c.Ask(link, &dispatch.Ask{
			Class: class, Rest: t.Rest, Expires: time.Now().Add(wait), Requests: []modbus.Request{r},
			Timeouts: []time.Duration{r.Timeout}, Tag: given{link, d, t},
		}, wait+4*r.Timeout+5*time.Second)
	}
}

// answered tells the waiting masters the answer of the unit, or why there is none.
func (g *gateway) answered(c *actors.Context, a *dispatch.Answer) {
	t, res := a.Ask.Tag.(given), &a.Results[0]
	t.desk.SetTap(a.Tap)
	t.desk.Done(t.transaction, res.Err == nil, res.Response, g.now())
	if res.Err == nil {
		c.Worked()
	}
	g.tell(c, t.transaction, res)
	g.next(c, t.link, t.desk)
}

// failed handles a link that does not answer at all, and failures that end this life of the actor.
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

// tell gives the result of a transaction to all who wait for it.
func (g *gateway) tell(c *actors.Context, t *transaction, r *dispatch.Result) {
	for _, w := range t.Waiting {
		if w.then != nil {
			w.then(c, r)
		} else {
			g.reply(w, r)
		}
	}
}

// reply answers the request of a master with the result.
func (g *gateway) reply(w waiter, r *dispatch.Result) {
	if r.Err != nil {
		g.refuse(w, exceptionOf(r))
		return
	}
	w.later.Reply(respond(nil, w.request, r.Response))
}

// refuse answers with an exception and counts it.
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

// errBusy is the error of a request that was not sent: it had no turn in time, its master has
// disconnected, or the queue was full.
var errBusy = dispatch.NotSent("not sent within patience, or too many requests are waiting")

// linkError is the error of an Ask to which the actor of a line or link did not reply.
type linkError struct{ error }

func (e *linkError) Unwrap() error { return e.error }

// exceptionOf returns the exception that tells a master how a transaction has failed.
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
	return modbus.DeviceBusy // the line did not get to it in time
}
