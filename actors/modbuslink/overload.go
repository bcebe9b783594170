package modbuslink

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Judge is a message of a Dispatcher to itself: check whether an overloaded line still is
// overloaded, even if there is little traffic to trigger the check.
type Judge struct{}

// judgeEvery is the interval of Judge while a line is overloaded.
const judgeEvery = 5 * time.Second

// overload is the overload of a line as last published.
type overload struct {
	changes int // dispatch.Overload.Changes
	since   time.Duration
	timer   *actors.Timer // for Judge; nil: the line keeps up
	cause   string
	shed    []string
}

// Well reports that a unit has answered: the line is ok, or degraded if it is overloaded.
func (d *Dispatcher) Well(c *actors.Context) {
	d.publishOverload(c)
	if d.overload.timer == nil {
		c.OK()
		return
	}
	c.Worked()
	c.Degraded(d.overload.cause)
}

// publishOverload tells units which of their groups are shed. It publishes an event when the line
// starts to shed polls and another when all are polled at their intervals again.
func (d *Dispatcher) publishOverload(c *actors.Context) {
	if d.ShedChanges() == d.overload.changes {
		return
	}
	p := d.Overload()
	for _, key := range p.Shed {
		notify(c, key, p.Cause)
	}
	for _, key := range d.overload.shed {
		if !slices.Contains(p.Shed, key) {
			notify(c, key, "")
		}
	}
	d.overload.changes, d.overload.cause, d.overload.shed = p.Changes, p.Cause, p.Shed
	switch {
	case len(p.Shed) > 0 && d.overload.timer == nil:
		d.overload.since, d.overload.timer = d.now(), c.Every(judgeEvery, Judge{})
		c.Event("overloaded", &modbusv1.Overloaded{Time: timestamppb.Now(), Cause: p.Cause, Needed: percent(p.Share), Shed: p.Shed})
	case len(p.Shed) == 0 && d.overload.timer != nil:
		d.overload.timer.Stop()
		d.overload.timer = nil
		c.Event("relieved", &modbusv1.Relieved{Time: timestamppb.Now(), Lasted: durationpb.New(d.now() - d.overload.since), Needed: percent(p.Share)})
		c.OK()
	}
}

// notify tells a unit that one of its groups is shed, or no longer shed if cause is empty.
func notify(c *actors.Context, key, cause string) {
	unit, group, _ := strings.Cut(key, " ")
	c.Tell(unit, dispatch.ShedNotice{Group: group, Cause: cause})
}

// judge checks the overload of a line that may have carried nothing since the last check.
func (d *Dispatcher) judge(c *actors.Context) {
	d.Judge(d.now())
	d.publishOverload(c)
}
