package modbusunit

import (
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// tallyTime is how long the link may take to say what it has counted.
const tallyTime = 5 * time.Second

// askTally asks the link what has become of the unit's requests.
func (u *unit) askTally(c *actors.Context) {
	c.Ask(u.cfg.Link, &dispatch.TallyUnit{Unit: uint8(u.cfg.Unit)}, tallyTime)
}

func (u *unit) tallied(c *actors.Context, t dispatch.Tally) {
	c.Reply(&modbusv1.UnitServiceCountersResponse{Counters: modbuslink.Counters(t)})
}

// complain says once that the unit does not work as it should any more, with the last that has passed on its link. That a link is down is
// the link's to say.
func (u *unit) complain(c *actors.Context, state, cause string) {
	if u.ill == state {
		return
	}
	u.ill = state
	if untold, ok := u.complaints.Due(state, u.now()); ok {
		c.Event("failed", modbuslink.Failed(u.gate.Tap, state, cause, untold))
	}
}
