// Package modbuslink is what the kinds serial-line, tcp-link and dtu-link have in common, and no kind itself: the Desk, at
// which units ask for transactions, and the methods of LinkService, which show what has passed (trace, counters, budget,
// scan). How a port is opened or a connection made is in the folders of the kinds.
package modbuslink

import (
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Publishes is what these kinds publish.
var Publishes = []actors.Leaf{
	{Class: "state", Leaf: "link", Message: &modbusv1.LinkState{}},
	{Class: "event", Leaf: "failed", Message: &modbusv1.Failed{}},
	{Class: "event", Leaf: "overloaded", Message: &modbusv1.Overloaded{}},
	{Class: "event", Leaf: "relieved", Message: &modbusv1.Relieved{}},
	{Class: "trace", Leaf: frames, Message: &modbusv1.TraceResponse{}},
}

// Desk is the Dispatcher of a line or link together with everything that its actor tells about it. It lasts for one life
// of the actor, however many connections are made meanwhile.
type Desk struct {
	*dispatch.Dispatcher
	Tap    *modbus.Tap // for modbus.Options of each connection
	Opened uint64      // how often the port or connection has been opened

	epoch      time.Time
	meter      dispatch.Meter
	complaints dispatch.Complaints
	overload   overload // as last published

	looked  time.Duration // when it was last asked who listens to the frames
	showing bool
	hunts   int // scans under way

	overdue *actors.Timer // for the caller whose request expires next; nil: nobody waits
	expiry  time.Duration // when overdue fires
}

// Overdue is a message of a Desk to itself: requests have expired, which must be answered also while nothing can be sent.
type Overdue struct{}

// NewDesk returns a Desk that has nothing to do.
func NewDesk(config dispatch.Config) *Desk {
	config.Tap = modbus.NewTap()
	return &Desk{Dispatcher: dispatch.New(config), Tap: config.Tap, epoch: time.Now()}
}

func (d *Desk) now() time.Duration { return time.Since(d.epoch) }

// Accept queues the requests of ask, and answers r when they have ended.
func (d *Desk) Accept(c *actors.Context, ask *dispatch.Ask, r *actors.Request, now time.Duration) {
	urgent := ask.Class <= schedule.Interactive && !ask.Expires.IsZero() // looked at before Submit, after which the asker may change ask
	var stands func() error
	if urgent && slices.ContainsFunc(ask.Requests, modbus.Request.Write) { // a read does no harm, and may be there to confirm a write
		stands = r.Stands
	}
	d.SubmitIf(ask, now, stands, func(a *dispatch.Answer) { r.Reply(a) })
	if urgent {
		d.expire(c, now)
	}
}

// expire answers what has expired, and sets the timer for what expires next.
func (d *Desk) expire(c *actors.Context, now time.Duration) {
	wait := d.Expire(now)
	if at := now + wait; wait > 0 && (d.overdue == nil || at < d.expiry) {
		d.overdue.Stop()
		d.overdue, d.expiry = c.After(wait, Overdue{}), at
	}
}

// Answer handles every message that is none of the kind's own: the methods of LinkService, TallyUnit and Leave of
// units, the end of Show, and the messages of the Desk to itself.
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
	case *dispatch.TallyUnit:
		c.Reply(d.Tally(m.Unit))
	case *modbusv1.BudgetRequest:
		d.budget(c, m)
	case dispatch.Leave:
		d.Leave(m)
	case Judge:
		d.judge(c)
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
