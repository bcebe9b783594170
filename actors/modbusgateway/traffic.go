package modbusgateway

import (
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	"gatewayd/protocols/modbus/wire"
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
	*transaction
}

// take queues a request of a master.
func (g *gateway) take(c *actors.Context, m *asked) {
	if m.route.to != "" {
		g.through(c, m)
		return
	}
	d := g.desks[m.route.link]
	if d == nil {
		d = share.NewDesk[*server.Master, waiter](int(g.cfg.Outstanding))
		g.desks[m.route.link] = d
	}
	t := &transaction{
		Request: m.request, Keep: m.route.cache, Rest: m.route.rest, Waiting: []waiter{m.waiter},
		Until: g.now() + g.cfg.Patience.AsDuration(),
	}
	verdict, answer := d.Take(m.master, t, g.now())
	switch verdict {
	case share.Known:
		g.counts.Cached.Add(1)
		m.waiter.later.Reply(respond(nil, m.waiter.request, answer))
	case share.Joined:
		g.counts.Shared.Add(1)
	case share.Full:
		g.refuse(t, modbus.DeviceBusy)
	case share.Queued:
		g.next(c, m.route.link)
	}
}

// next hands to a line or link what it may have.
func (g *gateway) next(c *actors.Context, link string) {
	d := g.desks[link]
	for {
		t, late := d.Next(g.now(), func(w waiter) bool { return w.later.Gone() })
		for _, l := range late {
			g.refuse(l, modbus.DeviceBusy)
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
		c.Ask(link, &wire.Ask{
			Class: class, Rest: t.Rest, Expires: time.Now().Add(wait), Requests: []modbus.Request{r},
			Timeouts: []time.Duration{r.Timeout}, Tag: given{link, t},
		}, wait+4*r.Timeout+5*time.Second)
	}
}

// answered tells who waits what the unit has said, or why it has not.
func (g *gateway) answered(c *actors.Context, a *wire.Answer) {
	t, res := a.Ask.Tag.(given), &a.Results[0]
	d := g.desks[t.link]
	d.Done(t.transaction, res.Err == nil, res.Response, g.now())
	if res.Err != nil {
		g.refuse(t.transaction, exceptionOf(res))
	} else {
		c.Worked()
		for _, w := range t.Waiting {
			w.later.Reply(respond(nil, w.request, res.Response))
		}
	}
	g.next(c, t.link)
}

// failed is a link that does not answer at all, or a life that cannot go on.
func (g *gateway) failed(c *actors.Context, m actors.Failed) error {
	if through, ok := m.Of.(*wire.Transact); ok {
		g.denied(through.Tag.(*asked), m.Err)
		return nil
	}
	ask, ok := m.Of.(*wire.Ask)
	if !ok {
		return m.Err
	}
	t := ask.Tag.(given)
	g.desks[t.link].Done(t.transaction, false, modbus.Response{}, g.now())
	g.refuse(t.transaction, modbus.GatewayPath)
	g.next(c, t.link)
	return nil
}

// refuse answers all who wait with an exception.
func (g *gateway) refuse(t *transaction, code uint8) {
	count := &g.counts.Silent
	switch code {
	case modbus.DeviceBusy:
		count = &g.counts.Busy
	case modbus.GatewayPath:
		count = &g.counts.Down
	case modbus.GatewayTarget:
	default:
		count = nil
	}
	for _, w := range t.Waiting {
		if count != nil {
			count.Add(1)
		}
		w.later.Refuse(code)
	}
}

// exceptionOf is the exception that tells a master how a transaction has ended.
func exceptionOf(r *wire.Result) uint8 {
	var e *modbus.Exception
	var d *wire.Down
	switch {
	case errors.As(r.Err, &e):
		return e.Code
	case errors.As(r.Err, &d):
		return modbus.GatewayPath
	case r.Outcome == schedule.NoAnswer, r.Outcome == schedule.Garbled:
		return modbus.GatewayTarget
	case errors.Is(r.Err, modbus.ErrOwed):
		return modbus.GatewayTarget
	case modbus.LinkLost(r.Err):
		return modbus.GatewayPath
	}
	return modbus.DeviceBusy // the line had no time for it
}
