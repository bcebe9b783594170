// Package dtulink implements the dtu-link actor kind for one DTU that dials in. The actor waits for
// the connection that a dtu-listener hands over and carries out the transactions of units one at a
// time. It makes no connections itself.
package dtulink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/dtu"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the dtu-link actor kind.
var Kind = actors.Define(actors.Kind{
	Name:      "dtu-link",
	Doc:       "The connection of one DTU that dials in; units ask it for transactions.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
	Publishes: modbuslink.Publishes,
	Limit:     2048,
	Check: func(config proto.Message) []schemas.Violation {
		_, err := claimOf(config.(*modbusv1.DtuLink))
		return schemas.Wrong("", err)
	},
}, func(cfg *modbusv1.DtuLink) actors.Actor {
	return &link{cfg: cfg, dispatcher: modbuslink.NewDispatcher(dispatch.Config{BatchSize: batch, Quiet: quiet}), epoch: time.Now()}
})

const (
	// batch is the maximum number of polls that a worker sends in one batch. An urgent request ends
	// the batch.
	batch = 16
	// maxUnanswered is the number of consecutive transactions without an answer after which the
	// connection is closed, so that the DTU dials in again.
	maxUnanswered = 12
	// quiet is the longest time for which a unit that has not answered gets no further request, so
	// that its late answer is not taken for the answer to that one. Other units are asked
	// meanwhile.
	quiet = 500 * time.Millisecond
	// renew is the interval at which the claim is renewed. A restarted listener also learns of the
	// claim this way.
	renew = dtu.Lease / 3
	// claimTime is the time allowed for the listener to answer.
	claimTime = 5 * time.Second
)

type link struct {
	cfg        *modbusv1.DtuLink
	dispatcher *modbuslink.Dispatcher
	epoch      time.Time
	claim      *dtu.Claim

	conn   *dtu.Caller // nil: not connected
	next   *dtu.Caller // new connection of the DTU, while a transaction is under way on the old one
	modbus *modbus.Link
	nudge  *actors.Timer
	said   string // cause last reported; empty: connected
}

// Messages that the actor sends to itself.
type (
	claim struct{}
	again struct{}
)

// framings are those of serial lines, which tolerate late answers and silent units: a connection
// that was closed because of them could be replaced only by the DTU.
var framings = map[string]modbus.Framing{"tcp": modbus.TCP, "rtu": modbus.RTU, "ascii": modbus.ASCII}

func (l *link) now() time.Duration { return time.Since(l.epoch) }

func (l *link) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return l.start(c)
	case claim:
		c.Ask(l.cfg.Listener, l.claim, claimTime)
	case dtu.Claimed:
		if l.conn == nil {
			l.down(c, "the DTU has not connected")
		}
	case *dtu.Caller:
		l.called(c, m)
	case *dispatch.Ask:
		if r := c.Take(); r != nil {
			l.dispatcher.Accept(c, m, r, l.now())
			l.send(c)
		}
	case *dispatch.Batch:
		l.done(c, m)
	case again:
		l.send(c)
	case *modbusv1.TraceRequest, *modbusv1.CountersRequest, *modbusv1.StatisticsRequest, *modbusv1.BudgetRequest, *dispatch.TallyUnit,
		dispatch.Leave, modbuslink.Judge, modbuslink.Overdue, actors.TraceEnded:
		l.dispatcher.Answer(c, m)
	case *modbusv1.ScanRequest, modbuslink.Step:
		l.dispatcher.Answer(c, m)
		l.send(c)
	case actors.Stopped:
		c.Tell(l.cfg.Listener, dtu.Release{Name: c.Name()})
	case actors.Failed:
		return l.failed(c, m)
	}
	return nil
}

func (l *link) start(c *actors.Context) error {
	mine, err := claimOf(l.cfg)
	if err != nil {
		return actors.Broken(err)
	}
	post := c.Post()
	mine.Name, mine.Hand = c.Name(), func(call *dtu.Caller) error { return post(call) }
	l.claim = mine
	l.down(c, "the DTU has not connected")
	c.Ask(l.cfg.Listener, l.claim, claimTime)
	c.Every(renew, claim{})
	return nil
}

// claimOf returns the claim that identifies the DTU of a config.
func claimOf(cfg *modbusv1.DtuLink) (*dtu.Claim, error) {
	id, err := dtu.Bytes(cfg.Registration)
	if err != nil {
		return nil, fmt.Errorf("registration: %w", err)
	}
	source, err := dtu.Source(cfg.Source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if len(id) == 0 && !source.IsValid() {
		return nil, errors.New("set registration or source, to tell this DTU from others")
	}
	return &dtu.Claim{ID: string(id), Source: source}, nil
}

// called takes over a connection. A previous one is half dead: a DTU that knows that it is
// connected does not dial again.
func (l *link) called(c *actors.Context, call *dtu.Caller) {
	c.Own(call)
	switch {
	case l.conn == nil:
		l.up(c, call)
	case l.dispatcher.Busy():
		if l.next != nil {
			c.Close(l.next)
		}
		l.next = call
		c.Close(l.conn) // ends the transaction under way
	default:
		c.Close(l.conn)
		l.up(c, call)
	}
}

func (l *link) up(c *actors.Context, call *dtu.Caller) {
	framing := framings[l.cfg.Framing]
	l.conn, l.next = call, nil
	l.dispatcher.Opened++
	l.modbus = modbus.NewLink(modbus.WithoutHeartbeats(call, framing, call.Beats), framing, modbus.Options{Tap: l.dispatcher.Tap})
	l.dispatcher.Up()
	l.said = ""
	c.State("link", &modbusv1.LinkState{Up: true, Target: call.RemoteAddr().String()})
	c.OK()
	l.send(c)
}

// down answers waiting requests with the cause, publishes it and sets the health.
func (l *link) down(c *actors.Context, cause string) {
	l.dispatcher.Down(cause)
	if l.said != cause {
		if l.said == "" && l.dispatcher.Opened > 0 {
			l.dispatcher.ReportFault(c, actors.Unreachable, cause)
		}
		l.said = cause
		c.State("link", &modbusv1.LinkState{Cause: cause, Target: l.cfg.Listener})
		c.Unreachable(cause)
	}
}

// send starts the next batch of transactions, if one is due.
func (l *link) send(c *actors.Context) {
	if l.conn == nil || l.next != nil {
		return
	}
	l.nudge.Stop()
	w, wait := l.dispatcher.Next(l.now())
	if wait > 0 {
		l.nudge = c.After(wait, again{})
	}
	if w == nil {
		return
	}
	m := l.modbus
	c.Do(w.Limit(), func(ctx context.Context) (any, error) {
		w.Run(ctx, m)
		return w, nil
	})
}

func (l *link) done(c *actors.Context, w *dispatch.Batch) {
	l.dispatcher.Done(w, l.now())
	l.dispatcher.Show(c)
	if w.Answered() {
		l.dispatcher.Well(c)
	}
	switch {
	case l.next != nil:
		l.up(c, l.next)
	case w.Lost != nil:
		l.lose(c, "the connection is lost and the DTU has not reconnected")
	case l.dispatcher.Unanswered() >= maxUnanswered:
		l.lose(c, "no unit has answered for a long time and the DTU has not reconnected")
	default:
		l.send(c)
	}
}

func (l *link) lose(c *actors.Context, cause string) {
	c.Close(l.conn)
	l.conn, l.modbus = nil, nil
	l.down(c, cause)
}

// failed handles a claim that the listener has not accepted, and failures of workers.
func (l *link) failed(c *actors.Context, m actors.Failed) error {
	if _, ok := m.Of.(*dtu.Claim); !ok {
		return m.Err
	}
	if l.conn == nil {
		l.down(c, fmt.Sprintf("%s is not waiting for the DTU: %s", l.cfg.Listener, m.Err))
	}
	return nil
}
