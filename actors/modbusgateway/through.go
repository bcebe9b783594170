package modbusgateway

import (
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
)

// as returns c for acting on behalf of the master.
func (m *asked) as(c *actors.Context) *actors.Context {
	return c.As(actors.Caller{Identity: "master/" + m.master.Name(), Trace: actors.NewTrace(), Proof: m.master.Who()})
}

// judge lets the firewall, if any, judge a request for a unit behind a line or link. The request is
// queued, where it may share a transaction with others, only after it has passed.
func (g *gateway) judge(c *actors.Context, m *asked) {
	g.gate.Try(m.as(c), g.cfg.Firewall, &modbusdoor.Attempt{
		Request: m.request, Unit: m.route.name, Link: m.route.link,
		Send: func(c *actors.Context, r modbus.Request, done modbusdoor.Then) {
			g.queue(c, m, r, waiter{later: m.waiter.later, request: r, then: done})
		},
		Done: func(_ *actors.Context, r *dispatch.Result) { g.reply(m.waiter, r) },
		Fail: func(_ *actors.Context, err error) { g.denied(m, err) },
	})
}

// judgeTime is the time allowed for the firewall of a unit.
const judgeTime = 2 * time.Second

// through hands a request to the actor of the unit, whose firewall judges it by the identity of the
// master. Answers are not shared with other masters, which may not have the right to read them.
func (g *gateway) through(c *actors.Context, m *asked) {
	if m.waiter.later.Gone() {
		return
	}
	patience := g.cfg.QueueTimeout.AsDuration()
	transactions := time.Duration(1)
	if m.request.Write() {
		transactions = 3 // its firewall may require a read before and after the write
	}
	// The unit reserves a third of the time for reporting the outcome.
	within := judgeTime + transactions*(patience+m.route.timeout)*3/2
	m.as(c).Ask(m.route.to, &dispatch.Transact{Request: m.request, Wait: patience, Tag: m}, within)
}

// transacted answers the master with the response of the unit.
func (g *gateway) transacted(c *actors.Context, t *dispatch.Transacted) {
	g.counts.Forwarded.Add(1)
	if t.Err == nil {
		c.Worked()
	}
	g.reply(t.Of.Tag.(*asked).waiter, &t.Result)
}

// denied answers the master with the exception for a request that did not reach the unit, or for a
// write that cannot be confirmed.
func (g *gateway) denied(m *asked, err error) {
	code := modbus.GatewayPath
	switch why, _ := actors.Explain(err); why {
	case actors.PermissionDenied:
		g.counts.Forbidden.Add(1)
		code = modbus.IllegalFunction
	case actors.InvalidArgument:
		code = modbus.IllegalValue
	case actors.ResourceExhausted:
		code = modbus.DeviceBusy
	case actors.DeadlineExceeded:
		code = modbus.GatewayTarget
	case actors.FailedPrecondition:
		// The write was confirmed but reads back differently. Exceptions 10 and 11 would say that
		// the unit was not reached (Application Protocol V1.1b3 §7: 4 is an error while the
		// requested action was performed).
		code = modbus.DeviceFailure
	}
	g.refuse(m.waiter, code)
}
