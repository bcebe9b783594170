// Package dtulink is the actor type for one DTU that dials in: it waits for the
// connection that a dtu-listener hands over and carries what units ask of it,
// one transaction at a time. It connects to nobody.
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

// Kind is kind "dtu-link".
var Kind = actors.Define(actors.Kind{
	Name:      "dtu-link",
	Doc:       "The connection that one DTU makes to us; units ask it for transactions.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
	Publishes: modbuslink.Publishes,
	Limit:     2048,
	Check: func(config proto.Message) []schemas.Violation {
		_, err := claimOf(config.(*modbusv1.DtuLink))
		return schemas.Wrong("", err)
	},
}, func(cfg *modbusv1.DtuLink) actors.Actor {
	return &link{cfg: cfg, desk: modbuslink.NewDesk(dispatch.Config{BatchSize: batch, Quiet: quiet}), epoch: time.Now()}
})

const (
	// batch is how many polls go out in one worker's turn; what is urgent ends the turn.
	batch = 16
	// maxUnanswered is how many transactions without an answer in a row call for another connection, which only the DTU can make.
	maxUnanswered = 12
	// quiet is the longest that a unit without an answer is left alone while another one is asked: its late answer meets no request then.
	quiet = 500 * time.Millisecond
	// renew is how often the claim is renewed, and a listener that was away learns of it.
	renew = dtu.Lease / 3
	// claimTime is how long the listener may take.
	claimTime = 5 * time.Second
)

type link struct {
	cfg   *modbusv1.DtuLink
	desk  *modbuslink.Desk
	epoch time.Time
	claim *dtu.Claim

	conn   *dtu.Caller // nil: it has not called
	next   *dtu.Caller // it has called again while the old connection has something under way
	modbus *modbus.Link
	nudge  *actors.Timer
	said   string // the last word on the connection
}

// Messages it sends itself.
type (
	claim struct{}
	again struct{}
)

// A line's framings, which live with late answers and silent units: only the DTU could replace a connection given up for one.
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
			l.down(c, "the DTU has not called")
		}
	case *dtu.Caller:
		l.called(c, m)
	case *dispatch.Ask:
		if r := c.Take(); r != nil {
			l.desk.Accept(c, m, r, l.now())
			l.send(c)
		}
	case *dispatch.Batch:
		l.done(c, m)
	case again:
		l.send(c)
	case *modbusv1.TraceRequest, *modbusv1.CountersRequest, *modbusv1.StatisticsRequest, *modbusv1.BudgetRequest, *dispatch.TallyUnit,
		dispatch.Leave, modbuslink.Judge, modbuslink.Overdue, actors.Shown:
		l.desk.Answer(c, m)
	case *modbusv1.ScanRequest, modbuslink.Step:
		l.desk.Answer(c, m)
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
	l.down(c, "the DTU has not called")
	c.Ask(l.cfg.Listener, l.claim, claimTime)
	c.Every(renew, claim{})
	return nil
}

// claimOf is by what a config knows its DTU.
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
		return nil, errors.New("registration or source must say which DTU it is")
	}
	return &dtu.Claim{ID: string(id), Source: source}, nil
}

// called takes a connection over. The one before is half dead: no DTU calls
// twice that knows it is connected.
func (l *link) called(c *actors.Context, call *dtu.Caller) {
	c.Own(call)
	switch {
	case l.conn == nil:
		l.up(c, call)
	case l.desk.Busy():
		if l.next != nil {
			c.Close(l.next)
		}
		l.next = call
		c.Close(l.conn) // what is under way ends at once
	default:
		c.Close(l.conn)
		l.up(c, call)
	}
}

func (l *link) up(c *actors.Context, call *dtu.Caller) {
	framing := framings[l.cfg.Framing]
	l.conn, l.next = call, nil
	l.desk.Opened++
	l.modbus = modbus.NewLink(modbus.WithoutHeartbeats(call, framing, call.Beats), framing, modbus.Options{Tap: l.desk.Tap})
	l.desk.Up()
	l.said = ""
	c.State("link", &modbusv1.LinkState{Up: true, Target: call.RemoteAddr().String()})
	c.OK()
	l.send(c)
}

// down tells who waits, and the world, why there is no connection.
func (l *link) down(c *actors.Context, cause string) {
	l.desk.Down(cause)
	if l.said != cause {
		if l.said == "" && l.desk.Opened > 0 {
			l.desk.Complain(c, actors.Unreachable, cause)
		}
		l.said = cause
		c.State("link", &modbusv1.LinkState{Cause: cause, Target: l.cfg.Listener})
		c.Unreachable(cause)
	}
}

// send sends what is due, if anything.
func (l *link) send(c *actors.Context) {
	if l.conn == nil || l.next != nil {
		return
	}
	l.nudge.Stop()
	w, wait := l.desk.Next(l.now())
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
	l.desk.Done(w, l.now())
	l.desk.Show(c)
	if w.Answered() {
		l.desk.Well(c)
	}
	switch {
	case l.next != nil:
		l.up(c, l.next)
	case w.Lost != nil:
		l.lose(c, "the connection is lost, and the DTU has not called again")
	case l.desk.Unanswered() >= maxUnanswered:
		l.lose(c, "nothing has answered for long, and the DTU has not called again")
	default:
		l.send(c)
	}
}

func (l *link) lose(c *actors.Context, cause string) {
	c.Close(l.conn)
	l.conn, l.modbus = nil, nil
	l.down(c, cause)
}

// failed is said of a claim that the listener has not taken, or of a worker.
func (l *link) failed(c *actors.Context, m actors.Failed) error {
	if _, ok := m.Of.(*dtu.Claim); !ok {
		return m.Err
	}
	if l.conn == nil {
		l.down(c, fmt.Sprintf("%s does not wait for the DTU: %s", l.cfg.Listener, m.Err))
	}
	return nil
}
