// Package serialline implements the serial-line actor kind for one serial port and the wire behind
// it. The actor holds the port, carries out the transactions of units one at a time, and resumes by
// itself when the adapter is plugged in again. It does no polling of its own.
package serialline

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
	"gatewayd/protocols/serial"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the serial-line actor kind.
var Kind = kind(&serial.Adapters{}, machine{})

// Over returns the same kind, but with ports that are opened by dial whatever their paths: a replay
// has no serial port.
func Over(dial func(context.Context) (modbus.Conn, error)) actors.Kind {
	return kind(&serial.Adapters{}, elsewhere(dial))
}

func kind(adapters *serial.Adapters, place place) actors.Kind {
	return actors.Define(actors.Kind{
		Name:      "serial-line",
		Doc:       "One serial port and the Modbus wire behind it; units ask it for transactions.",
		Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
		Publishes: modbuslink.Publishes,
		Live:      true,
		Faults:    []string{"corrupt", "unplug", "plug"},
		Limit:     2048,
		Power:     power(adapters),
		Check: func(config proto.Message) []schemas.Violation {
			return schemas.Wrong("", modbuslink.Settings(config.(*modbusv1.SerialLine)).Check())
		},
	}, func(cfg *modbusv1.SerialLine) actors.Actor {
		own, _, _ := modbuslink.Line(cfg)
		return &line{cfg: cfg, adapters: adapters, place: place, epoch: time.Now(), dispatcher: modbuslink.NewDispatcher(dispatch.Config{Quiet: quiet, Air: own.Air})}
	})
}

// quiet is the longest time for which a unit that has not answered gets no further request, so that
// its late answer is not taken for the answer to that one.
const quiet = 500 * time.Millisecond

type line struct {
	cfg        *modbusv1.SerialLine
	adapters   *serial.Adapters
	place      place
	dispatcher *modbuslink.Dispatcher
	epoch      time.Time

	port    *port // nil: not open
	modbus  *modbus.Link
	carried *modbus.Link // the Link that the Batch under way uses
	waits   string       // the path of the port that is waited for; empty: none
	held    bool         // unplugged by a fault drill
	down    bool         // reported that the port is not open
	changed bool         // the config has not been applied to the port yet
	tuning  bool         // the port is being opened or configured, or a scan has it
	noise   float64
	flaws   int  // consecutive failures of a port that exists
	used    bool // since the last check
	nudge   *actors.Timer
}

// Messages that the actor sends to itself.
type (
	again struct{}
	look  struct{}
	check struct{}
)

// checks is the interval at which an idle port is checked.
const checks = 2 * time.Second

func (l *line) now() time.Duration { return time.Since(l.epoch) }

func (l *line) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		if err := modbuslink.Settings(l.cfg).Check(); err != nil {
			return actors.Broken(err)
		}
		c.Every(checks, check{})
		l.open(c)
	case *dispatch.Ask:
		l.take(c, m)
	case *dispatch.Batch:
		return l.done(c, m)
	case again:
		l.next(c)
	case *modbusv1.TraceRequest, *modbusv1.CountersRequest, *modbusv1.StatisticsRequest, *modbusv1.BudgetRequest, *dispatch.TallyUnit,
		dispatch.Leave, modbuslink.Judge, modbuslink.Overdue, actors.TraceEnded:
		l.dispatcher.Answer(c, m)
	case *modbusv1.ScanRequest:
		l.scan(c, m)
	case modbuslink.Step:
		l.dispatcher.Answer(c, m)
		l.next(c)
	case resume:
		return l.resume(c)
	case actors.Reconfigured:
		l.cfg, l.changed = m.Config.(*modbusv1.SerialLine), true
		if err := modbuslink.Settings(l.cfg).Check(); err != nil {
			return actors.Broken(err)
		}
		l.apply(c)
	case actors.Inject:
		l.inject(c, m)
	case actors.Failed:
		return fmt.Errorf("port %s: %w", l.cfg.Port, m.Err)
	default:
		return l.presence(c, msg)
	}
	return nil
}

func (l *line) take(c *actors.Context, ask *dispatch.Ask) {
	if r := c.Take(); r != nil {
		l.dispatcher.Accept(c, ask, r, l.now())
		l.next(c)
	}
}

// next starts the next batch of transactions, if one is due.
func (l *line) next(c *actors.Context) {
	if l.port == nil || l.tuning || l.changed {
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
	m, p := l.modbus, l.port
	l.carried = m
	c.Do(w.Limit(), func(ctx context.Context) (any, error) {
		p.Use.Lock()
		defer p.Use.Unlock()
		w.Run(ctx, m)
		return w, nil
	})
}

func (l *line) done(c *actors.Context, w *dispatch.Batch) error {
	l.used = true
	if w.Lost != nil {
		return l.lose(c, w)
	}
	l.dispatcher.Done(w, l.now())
	l.dispatcher.Show(c)
	if w.Answered() {
		l.flaws = 0
		l.dispatcher.Well(c)
	}
	l.apply(c)
	l.next(c)
	return nil
}
