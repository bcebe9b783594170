package modbusgateway

import (
	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/wire"
)

// through hands a request to the actor of the unit, whose firewall judges it by
// who the master is. Nobody shares an answer that not everybody may have.
func (g *gateway) through(c *actors.Context, m *asked) {
	if m.waiter.later.Gone() {
		return
	}
	master := c.As(actors.Caller{Identity: "master/" + m.master.Name(), Trace: actors.NewTrace()})
	master.Ask(m.route.to, &wire.Transact{Request: m.request, Tag: m}, g.cfg.Patience.AsDuration()+m.route.timeout)
}

// transacted tells the master what the unit has said.
func (g *gateway) transacted(c *actors.Context, t *wire.Transacted) {
	m := t.Of.Tag.(*asked)
	g.counts.Forwarded.Add(1)
	if t.Err != nil {
		g.refuse(alone(m), exceptionOf(&t.Result))
		return
	}
	c.Worked()
	m.waiter.later.Reply(respond(nil, m.waiter.request, t.Response))
}

// denied tells the master why the unit was not asked, or has not said anything.
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
	case actors.FailedPrecondition: // verified, and the unit holds something else
		code = modbus.DeviceFailure
	}
	g.refuse(alone(m), code)
}

// alone is a transaction that nobody shares.
func alone(m *asked) *transaction { return &transaction{Waiting: []waiter{m.waiter}} }
