// Package tcplink is the actor type for one connection over IP (TCP, TLS or UDP)
// to a Modbus device, gateway or serial device server: it keeps the connection
// and carries what units ask of it, one transaction at a time or as many as the
// far end allows. It polls nothing by itself.
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

// Kind is all this package shows the gateway.
var Kind = kind(way)

// Over is the same kind, but wherever its links lead, dial is where they go: a
// replay has no network.
func Over(dial func(context.Context) (modbus.Conn, error)) actors.Kind {
	return kind(func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error) { return dial })
}

func kind(way func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error)) actors.Kind {
	kits := &modbus.Kits{}
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
		return &link{cfg: cfg, way: way, kits: kits, desk: modbuslink.NewDesk(dispatch.Config{BatchSize: batch, InFlight: int(cfg.InFlight)}), epoch: time.Now()}
	})
}

const (
	// batch is how many polls go out in one worker's turn; what is urgent ends the turn.
	batch = 16
	// maxUnanswered is how many transactions without an answer in a row call for a new connection: some devices forget one.
	maxUnanswered = 12
	// spoils is how many connections in a row may be spoilt by unreadable answers, and bring no other, before it waits to connect again.
	spoils = 3
)

type link struct {
	cfg   *modbusv1.TcpLink
	way   func(*modbusv1.TcpLink) func(context.Context) (modbus.Conn, error)
	desk  *modbuslink.Desk
	kits  *modbus.Kits
	epoch time.Time

	conn    *conn // nil: not connected
	modbus  dispatch.Transactor
	dialing bool
	lenient bool  // it is scanned: a silent unit and a late answer do not cost the connection
	loose   bool  // the connection is one for that
	stale   bool  // it is time for a new connection, once this one has nothing under way
	proved  bool  // the connection has brought an answer
	shaky   bool  // the last connection brought none
	down    bool  // it was said that there is none
	ended   error // what has ended the last connection
	spoilt  int   // connections in a row that an unreadable answer has spoilt
	failed  int   // attempts in a row without success
	retry   *actors.Timer
	nudge   *actors.Timer
}

// Messages it sends itself.
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
		dispatch.Leave, modbuslink.Judge, modbuslink.Overdue, actors.Shown:
		l.desk.Answer(c, m)
	case *modbusv1.ScanRequest:
		l.scan(c, m)
	case modbuslink.Step:
		l.desk.Answer(c, m)
		l.tighten(c)
		l.next(c)
	case actors.Failed:
		return fmt.Errorf("%s: %w", l.target(), m.Err)
	}
	return nil
}

func (l *link) take(c *actors.Context, ask *dispatch.Ask) {
	if r := c.Take(); r != nil {
		l.desk.Accept(c, ask, r, l.now())
		l.next(c)
	}
}

// next sends what is due, if anything.
func (l *link) next(c *actors.Context) {
	if l.conn == nil || l.stale {
		return
	}
	l.nudge.Stop()
	for {
		w, wait := l.desk.Next(l.now())
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
	l.desk.Done(w, l.now())
	l.desk.Show(c)
	l.suit()
	l.tighten(c)
	if by != l.conn { // what the last connection took along
		l.next(c)
		return
	}
	l.ended = w.Lost
	if w.Answered() {
		l.proven(c)
	}
	l.stale = l.stale || l.desk.Unanswered() >= maxUnanswered
	switch {
	case w.Spoilt():
		l.spoilt++
		l.desk.Complain(c, actors.Degraded, fmt.Sprintf("%s: %s", l.target(), w.Lost))
		l.lose(c, l.proved || l.stale || l.spoilt <= spoils)
	case w.Lost != nil:
		l.lose(c, l.proved || l.stale)
	case l.stale && !l.desk.Busy():
		l.lose(c, true)
	default:
		l.next(c)
	}
}

// scan looks for units. Over a stream without transaction ids an address without
// one would cost the connection, since nothing but its unit tells a late answer. So
// while it is scanned such a connection goes by the rules of a line, where nobody
// is asked anew before his late answer is no longer feared.
func (l *link) scan(c *actors.Context, m *modbusv1.ScanRequest) {
	l.desk.Answer(c, m)
	if _, ok := lines[l.cfg.Framing]; ok && l.cfg.Transport == "tcp" && l.desk.Scanning() {
		l.lenient = true
		l.suit()
	}
	l.next(c)
}

// suit has the connection go by the rules of a line, where that is wanted and
// nothing is under way.
func (l *link) suit() {
	if l.conn != nil && l.lenient && !l.loose && !l.desk.Busy() {
		l.talk()
	}
}

// tighten ends that with the last scan, by another connection: on this one an
// answer may still be owed.
func (l *link) tighten(c *actors.Context) {
	if !l.lenient || l.desk.Scanning() {
		return
	}
	l.lenient = false
	if l.conn == nil || !l.loose {
		return
	}
	l.stale = true
	if !l.desk.Busy() {
		l.lose(c, true)
	}
}

// proven is said when a unit has answered, if only to refuse.
func (l *link) proven(c *actors.Context) {
	l.proved, l.failed, l.spoilt = true, 0, 0
	if l.shaky {
		l.shaky = false
		l.say(c, "")
	}
	l.desk.Well(c)
}
