package modbuslink

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Judge is the message by which a Desk looks whether a line that was overloaded
// still is, when little happens on it.
type Judge struct{}

// judges is how often.
const judges = 5 * time.Second

// pressed is what the world knows of the line's overload.
type pressed struct {
	turns int
	since time.Duration
	timer *actors.Timer // nil: it keeps up
	cause string
	shed  []string
}

// Well says that a unit has answered: the line is fine, or at least does what it
// can.
func (d *Desk) Well(c *actors.Context) {
	d.press(c)
	if d.pressed.timer == nil {
		c.OK()
		return
	}
	c.Worked()
	c.Degraded(d.pressed.cause)
}

// press tells once when the line begins to shed polls, and once when all have
// their rhythm back.
func (d *Desk) press(c *actors.Context) {
	if d.Turns() == d.pressed.turns {
		return
	}
	p := d.Pressure()
	for _, key := range p.Shed {
		tell(c, key, p.Cause)
	}
	for _, key := range d.pressed.shed {
		if !slices.Contains(p.Shed, key) {
			tell(c, key, "")
		}
	}
	d.pressed.turns, d.pressed.cause, d.pressed.shed = p.Turns, p.Cause, p.Shed
	switch {
	case len(p.Shed) > 0 && d.pressed.timer == nil:
		d.pressed.since, d.pressed.timer = d.now(), c.Every(judges, Judge{})
		c.Event("overloaded", &modbusv1.Overloaded{Time: timestamppb.Now(), Cause: p.Cause, Needed: percent(p.Share), Shed: p.Shed})
	case len(p.Shed) == 0 && d.pressed.timer != nil:
		d.pressed.timer.Stop()
		d.pressed.timer = nil
		c.Event("relieved", &modbusv1.Relieved{Time: timestamppb.Now(), Lasted: durationpb.New(d.now() - d.pressed.since), Needed: percent(p.Share)})
		c.OK()
	}
}

// tell tells a unit what has become of one of its groups.
func tell(c *actors.Context, key, cause string) {
	unit, group, _ := strings.Cut(key, " ")
	c.Tell(unit, wire.Rhythm{Group: group, Shed: cause})
}

// again judges a line on which nothing may have happened meanwhile.
func (d *Desk) again(c *actors.Context) {
	d.Judge(d.now())
	d.press(c)
}
