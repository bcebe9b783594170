package modbusunit

import (
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
)

// try submits a caller's request to the firewall and sends it if allowed. Every call goes through
// it, whichever door it came from.
func (u *unit) try(c *actors.Context, r modbus.Request, done then) { u.tryWithin(c, r, 0, done) }

// tryWithin is like try, but the request must get its turn on the line within wait. A write waits for
// the end of a merge.
func (u *unit) tryWithin(c *actors.Context, r modbus.Request, wait time.Duration, done then) {
	if u.merging && r.Write() {
		c.After(mergeTurn, held{func(c *actors.Context) { u.tryWithin(c, r, wait, done) }})
		return
	}
	u.attempt(c, r, wait, (*actors.Context).Refuse, done)
}

// attempt is like tryWithin, but never waits for a merge. fail is called if the firewall denies the
// request.
func (u *unit) attempt(c *actors.Context, r modbus.Request, wait time.Duration, fail func(*actors.Context, error), done then) {
	r.Unit = uint8(u.cfg.Unit)
	u.gate.Try(c, u.cfg.Firewall, &modbusdoor.Attempt{
		Request: r, Unit: c.Name(), Link: u.cfg.Link, Done: done, Fail: fail,
		Send: func(c *actors.Context, r modbus.Request, done then) { u.send(c, r, wait, done) },
	})
}

// atGate handles requests of doors and messages of the firewall. It reports whether msg was one of
// these.
func (u *unit) atGate(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *dispatch.Transact:
		u.tryWithin(c, m.Request, m.Wait, func(c *actors.Context, r *dispatch.Result) { c.Reply(&dispatch.Transacted{Of: m, Result: *r}) })
		return true
	case dispatch.Locate:
		c.Reply(u.place(c))
		return true
	}
	return u.gate.Take(c, msg)
}

// place returns the unit's link and address, since firewall rules may name it by those as well.
func (u *unit) place(c *actors.Context) dispatch.Place {
	return dispatch.Place{Unit: c.Name(), Link: u.cfg.Link, Address: uint8(u.cfg.Unit)}
}

// tellPlace tells the firewall the unit's place.
func (u *unit) tellPlace(c *actors.Context) {
	if u.cfg.Firewall != "" {
		c.Tell(u.cfg.Firewall, u.place(c))
	}
}
