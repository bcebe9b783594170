// Package modbuslink is the common part of the kinds serial-line, tcp-link and dtu-link; it is no
// kind itself. It has the Dispatcher, to which units submit their transactions, and the methods of
// LinkService, which show the traffic (trace, counters, budget, scan). The packages of the kinds
// open the ports and make the connections.
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

// Publishes lists what these kinds publish.
var Publishes = []actors.Leaf{
	{Class: "state", Leaf: "link", Message: &modbusv1.LinkState{}},
	{Class: "event", Leaf: "failed", Message: &modbusv1.Failed{}},
	{Class: "event", Leaf: "overloaded", Message: &modbusv1.Overloaded{}},
	{Class: "event", Leaf: "relieved", Message: &modbusv1.Relieved{}},
	{Class: "trace", Leaf: frames, Message: &modbusv1.TraceResponse{}},
}

// Dispatcher is the dispatch.Dispatcher of a line or link together with everything that its actor
// reports about it. It lasts for one life of the actor, across all connections made during it.
type Dispatcher struct {
	*dispatch.Dispatcher
	Tap    *modbus.Tap // for modbus.Options of each connection
	Opened uint64      // number of times the port or connection has been opened

	epoch        time.Time
	meter        dispatch.Meter
	eventLimiter dispatch.EventLimiter
	overload     overload // as last published

	looked  time.Duration // when it last asked whether anybody listens to the frames
	showing bool
	hunts   int // scans under way

	overdue *actors.Timer // fires when the next urgent request expires; nil: none is waiting
	expiry  time.Duration // when overdue fires
}

// Overdue is a message of a Dispatcher to itself: requests have expired. They must be answered even
// while nothing can be sent.
type Overdue struct{}

// NewDispatcher returns a Dispatcher with empty queues.
func NewDispatcher(config dispatch.Config) *Dispatcher {
	config.Tap = modbus.NewTap()
	return &Dispatcher{Dispatcher: dispatch.New(config), Tap: config.Tap, epoch: time.Now()}
}

func (d *Dispatcher) now() time.Duration { return time.Since(d.epoch) }

// Accept queues the requests of ask and answers r when they have ended.
func (d *Dispatcher) Accept(c *actors.Context, ask *dispatch.Ask, r *actors.Request, now time.Duration) {
	// Evaluated before Submit, because the asker may change ask afterwards.
	urgent := ask.Class <= schedule.Interactive && !ask.Expires.IsZero()
	var stands func() error
	// Only writes are checked: a read does no harm, and may be there to confirm a write.
	if urgent && slices.ContainsFunc(ask.Requests, modbus.Request.Write) {
		stands = r.StillValid
	}
	d.SubmitIf(ask, now, stands, func(a *dispatch.Answer) { r.Reply(a) })
	if urgent {
		d.expire(c, now)
	}
}

// expire answers the requests that have expired and sets the timer for the next one.
func (d *Dispatcher) expire(c *actors.Context, now time.Duration) {
	wait := d.Expire(now)
	if at := now + wait; wait > 0 && (d.overdue == nil || at < d.expiry) {
		d.overdue.Stop()
		d.overdue, d.expiry = c.After(wait, Overdue{}), at
	}
}

// Answer handles every message that the kind does not handle itself: the methods of LinkService,
// TallyUnit and Leave from units, the end of PublishTrace, and the messages of the Dispatcher to
// itself.
func (d *Dispatcher) Answer(c *actors.Context, msg any) {
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
	case actors.TraceEnded:
		d.showing = false
	case Overdue:
		d.overdue = nil
		d.expire(c, d.now())
	}
}

func (d *Dispatcher) statistics() *modbusv1.StatisticsResponse {
	n := d.Counts()
	return &modbusv1.StatisticsResponse{
		Answered: n.Answered, Exceptions: n.Exceptions, Timeouts: n.Timeouts, Corrupt: n.Corrupt, Mismatched: n.Mismatched,
		Opened: d.Opened, Shed: n.Shed, Busy: d.meter.Share(n.Busy, d.now()),
	}
}
