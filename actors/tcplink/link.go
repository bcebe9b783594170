// Package tcplink implements the tcp-link actor kind for one connection over IP (TCP, TLS or UDP)
// to a Modbus device, gateway or serial device server. The actor keeps the connection and carries
// out the transactions of units, one at a time or as many as the far end allows. It does no polling
// of its own.
package tcplink

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the tcp-link actor kind.
var Kind = kind(way)

// Over returns the same kind, but with connections made by dial whatever the addresses: a replay
// has no network.
func Over(dial func(context.Context) (modbus.Conn, error)) actors.Kind {
	return kind(func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error) { return dial })
}

func kind(way func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error)) actors.Kind {
	kits := &modbus.StatePool{}
	return actors.Define(actors.Kind{
		Name:      "tcp-link",
		Doc:       "One connection over TCP, TLS or UDP to a Modbus device or gateway; units ask it for transactions.",
		Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
		Publishes: modbuslink.Publishes,
		Live:      true,
		Limit:     2048,
		Check: func(config proto.Message) []schemas.Violation {
			cfg := config.(*modbusv1.TcpLink)
			return append(schemas.Wrong("address", checkPort(cfg)), schemas.Wrong("", check(cfg))...)
		},
		Beside: beside,
	}, func(cfg *modbusv1.TcpLink) actors.Actor {
		return &link{cfg: cfg, way: way, statePool: kits, dispatcher: modbuslink.NewDispatcher(dispatch.Config{BatchSize: batch, InFlight: int(cfg.InFlight)}), epoch: time.Now()}
	})
}

const (
	// batch is the maximum number of polls that a worker sends in one batch. An urgent request ends
	// the batch.
	batch = 16
	// maxUnanswered is the number of consecutive transactions without an answer after which the
	// connection is replaced: some devices forget a connection.
	maxUnanswered = 12
	// spoils is the number of consecutive connections, ended by unreadable answers and without any
	// other answer, that are replaced at once. After that there is a pause before the next attempt.
	spoils = 3
)

type link struct {
	cfg        *modbusv1.TcpLink
	way        func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error)
	dispatcher *modbuslink.Dispatcher
	statePool  *modbus.StatePool
	epoch      time.Time

	conn    *conn // nil: not connected
	modbus  dispatch.Transactor
	dialing bool
	lenient bool  // a scan is running: silent units and late answers must not cost the connection
	loose   bool  // the connection is used that way
	stale   bool  // replace the connection once nothing is under way
	proved  bool  // an answer has arrived on the connection
	shaky   bool  // no answer arrived on the last connection
	down    bool  // reported that there is no connection
	ended   error // error that ended the last connection
	spoilt  int   // consecutive connections ended by an unreadable answer
	failed  int   // consecutive failed attempts
	retry   *actors.Timer
	nudge   *actors.Timer
}

// Messages that the actor sends to itself.
type (
	redial  struct{}
	again   struct{}
	carried struct {
		work *dispatch.Batch
		by   *conn
	}
)

func (l *link) now() time.Duration { return time.Since(l.epoch) }

func (l *link) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		if err := check(l.cfg); err != nil {
			return actors.Broken(err)
		}
		l.dial(c)
	case redial:
		l.dial(c)
	case *dispatch.Ask:
		l.take(c, m)
	case carried:
		l.done(c, m.work, m.by)
	case again:
		l.next(c)
	case *conn:
		l.connected(c, m)
	case refused:
		l.dialing = false
		l.backOff(c, m.cause)
	case actors.Reconfigured:
		return l.reconfigure(c, m.Config.(*modbusv1.TcpLink))
	case *modbusv1.TraceRequest, *modbusv1.CountersRequest, *modbusv1.StatisticsRequest, *modbusv1.BudgetRequest, *dispatch.TallyUnit,
		dispatch.Leave, modbuslink.Judge, modbuslink.Overdue, actors.TraceEnded:
		l.dispatcher.Answer(c, m)
	case *modbusv1.ScanRequest:
		l.scan(c, m)
	case modbuslink.Step:
		l.dispatcher.Answer(c, m)
		l.tighten(c)
		l.next(c)
	case actors.Failed:
		return fmt.Errorf("%s: %w", l.target(), m.Err)
	}
	return nil
}

func (l *link) take(c *actors.Context, ask *dispatch.Ask) {
	if r := c.Take(); r != nil {
		l.dispatcher.Accept(c, ask, r, l.now())
		l.next(c)
	}
}

// next starts batches of transactions that are due, as many as allowed at a time.
func (l *link) next(c *actors.Context) {
	if l.conn == nil || l.stale {
		return
	}
	l.nudge.Stop()
	for {
		w, wait := l.dispatcher.Next(l.now())
		if wait > 0 {
			l.nudge.Stop()
			l.nudge = c.After(wait, again{})
		}
		if w == nil {
			return
		}
		m, by := l.modbus, l.conn
		c.Do(w.Limit(), func(ctx context.Context) (any, error) {
			w.Run(ctx, m)
			return carried{w, by}, nil
		})
	}
}

func (l *link) done(c *actors.Context, w *dispatch.Batch, by *conn) {
	l.dispatcher.Done(w, l.now())
	l.dispatcher.Show(c)
	l.suit()
	l.tighten(c)
	if by != l.conn { // a transaction of an earlier connection
		l.next(c)
		return
	}
	l.ended = w.Lost
	if w.Answered() {
		l.proven(c)
	}
	l.stale = l.stale || l.dispatcher.Unanswered() >= maxUnanswered
	switch {
	case w.Spoilt():
		l.spoilt++
		l.dispatcher.ReportFault(c, actors.Degraded, fmt.Sprintf("%s: %s", l.target(), w.Lost))
		l.lose(c, l.proved || l.stale || l.spoilt <= spoils)
	case w.Lost != nil:
		l.lose(c, l.proved || l.stale)
	case l.stale && !l.dispatcher.Busy():
		l.lose(c, true)
	default:
		l.next(c)
	}
}

// scan looks for units. On a stream without transaction ids, an address without a unit would cost
// the connection, because a late answer can be recognised only by its unit address. So during a
// scan such a connection follows the rules of a serial line: a unit is not asked again until its
// late answer need no longer be expected.
func (l *link) scan(c *actors.Context, m *modbusv1.ScanRequest) {
	l.dispatcher.Answer(c, m)
	if _, ok := lines[l.cfg.Framing]; ok && l.cfg.Transport == "tcp" && l.dispatcher.Scanning() {
		l.lenient = true
		l.suit()
	}
	l.next(c)
}

// suit switches the connection to the rules of a serial line if that is wanted and nothing is under
// way.
func (l *link) suit() {
	if l.conn != nil && l.lenient && !l.loose && !l.dispatcher.Busy() {
		l.talk()
	}
}

// tighten returns to the normal rules after the last scan, with a new connection: a late answer may
// still arrive on the old one.
func (l *link) tighten(c *actors.Context) {
	if !l.lenient || l.dispatcher.Scanning() {
		return
	}
	l.lenient = false
	if l.conn == nil || !l.loose {
		return
	}
	l.stale = true
	if !l.dispatcher.Busy() {
		l.lose(c, true)
	}
}

// proven records that a unit has answered, even if with an exception.
func (l *link) proven(c *actors.Context) {
	l.proved, l.failed, l.spoilt = true, 0, 0
	if l.shaky {
		l.shaky = false
		l.say(c, "")
	}
	l.dispatcher.Well(c)
}
