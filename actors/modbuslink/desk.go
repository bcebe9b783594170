// Package modbuslink is what the kinds that carry Modbus transactions have in
// common, and no kind itself: the desk at which units ask for them, and what it
// tells of what has passed. How a port is opened or a connection made is the
// kinds' own.
package modbuslink

import (
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Publishes is what all of them publish.
var Publishes = []actors.Leaf{
	{Class: "state", Leaf: "link", Message: &modbusv1.LinkState{}},
	{Class: "event", Leaf: "failed", Message: &modbusv1.Failed{}},
	{Class: "event", Leaf: "overloaded", Message: &modbusv1.Overloaded{}},
	{Class: "event", Leaf: "relieved", Message: &modbusv1.Relieved{}},
	{Class: "trace", Leaf: frames, Message: &modbusv1.TraceResponse{}},
}

// Desk carries for a line or link, and knows what has passed on it in this life
// of its actor, over whatever connection.
type Desk struct {
	*wire.Carrier
	Tap    *modbus.Tap // for the options of each connection
	Opened uint64      // times that the port or connection was

	epoch      time.Time
	meter      wire.Meter
	complaints wire.Complaints
	pressed    pressed

	looked  time.Duration // when it was last asked who listens to the frames
	showing bool
	hunts   int // scans under way

	overdue *actors.Timer // when who waits for an answer will have waited for too long; nil: nobody waits
	expiry  time.Duration // of overdue
}

// Overdue is the message by which a Desk tells who has waited for too long, also
// while nothing can be sent.
type Overdue struct{}

// NewDesk is one that has nothing to do.
func NewDesk(config wire.Config) *Desk {
	config.Tap = modbus.NewTap()
	return &Desk{Carrier: wire.NewCarrier(config), Tap: config.Tap, epoch: time.Now()}
}

func (d *Desk) now() time.Duration { return time.Since(d.epoch) }

// Accept queues what ask wants, for r.
func (d *Desk) Accept(c *actors.Context, ask *wire.Ask, r *actors.Request, now time.Duration) {
	urgent := ask.Class <= schedule.Interactive && !ask.Expires.IsZero() // the Ask is the asker's again when it is answered, which may be now
	var stands func() error
	if urgent && slices.ContainsFunc(ask.Requests, modbus.Request.Write) { // what is read harms nobody, and may be to confirm what was written
		stands = r.Stands
	}
	d.TakeFor(ask, now, stands, func(a *wire.Answer) { r.Reply(a) })
	if urgent {
		d.expire(c, now)
	}
}

// expire tells who has waited for too long, and looks again in time for the next.
func (d *Desk) expire(c *actors.Context, now time.Duration) {
	wait := d.Expire(now)
	if at := now + wait; wait > 0 && (d.overdue == nil || at < d.expiry) {
		d.overdue.Stop()
		d.overdue, d.expiry = c.After(wait, Overdue{}), at
	}
}

// Answer answers the methods of LinkService, a unit that asks for its tally or
// takes its leave, the end of Show, and what the desk tells itself.
func (d *Desk) Answer(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case *modbusv1.TraceRequest:
		d.trace(c, m)
	case *modbusv1.CountersRequest:
		c.Reply(d.counters(m))
	case *modbusv1.StatisticsRequest:
		c.Reply(d.statistics())
	case *modbusv1.ScanRequest:
		d.scan(c, m)
	case Step:
		d.step(c, m.hunt)
	case *wire.TallyUnit:
		c.Reply(d.Tally(m.Unit))
	case *modbusv1.BudgetRequest:
		d.budget(c, m)
	case wire.Leave:
		d.Leave(m)
	case Judge:
		d.again(c)
	case actors.Shown:
		d.showing = false
	case Overdue:
		d.overdue = nil
		d.expire(c, d.now())
	}
}

func (d *Desk) statistics() *modbusv1.StatisticsResponse {
	n := d.Counts()
	return &modbusv1.StatisticsResponse{
		Answered: n.Answered, Exceptions: n.Exceptions, Timeouts: n.Timeouts, Corrupt: n.Corrupt, Mismatched: n.Mismatched,
		Opened: d.Opened, Shed: n.Shed, Busy: d.meter.Share(n.Busy, d.now()),
	}
}
