package modbusunit

import (
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// tallyTime is the time limit for the link to report its counters.
const tallyTime = 5 * time.Second

// askTally asks the link for the counters of the unit's requests.
func (u *unit) askTally(c *actors.Context) {
	c.Ask(u.cfg.Link, &dispatch.TallyUnit{Unit: uint8(u.cfg.Unit)}, tallyTime)
}

func (u *unit) tallied(c *actors.Context, t dispatch.Tally) {
	c.Reply(&modbusv1.UnitServiceCountersResponse{Counters: modbuslink.Counters(t)})
}

// complain publishes an event, once, when the unit stops working as it should, with the last frames
// on its link. An event that the link is down is published by the link.
func (u *unit) complain(c *actors.Context, state, cause string) {
	if u.ill == state {
		return
	}
	u.ill = state
	if untold, ok := u.eventLimiter.Allow(state, u.now()); ok {
		c.Event("failed", modbuslink.Failed(u.gate.Tap, state, cause, untold))
	}
}
