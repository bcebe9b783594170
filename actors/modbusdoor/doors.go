// Package modbusdoor is the common part of the kinds that accept Modbus masters; it is no kind
// itself. It has the doors (TCP listeners and serial ports) as configured, and the gate that
// requests pass on their way to a unit: the verdict of the firewall and the audit. Connections and
// frames are handled by package protocols/modbus/server.
package modbusdoor

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/protocols/access"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// openTime is the time limit for opening the doors.
const openTime = 10 * time.Second

// Doors are the doors of one life of an actor. The actor passes them every message that it does not
// handle itself.
type Doors struct {
	Refusals  Refusals
	admission admission
	server    *server.Server // nil until the doors are open
	downs     map[string]string
	exposed   []string
	busy      bool  // a plan is being carried out
	next      *plan // latest plan made meanwhile
}

// plan is a configuration to be applied to the doors.
type plan struct {
	limits  server.Config
	handler server.Handler
	tcp     []server.TCP
	ports   []server.Port
}

type (
	// opened is the result of opening the doors; the life owns it.
	opened struct{ *server.Server }
	// changed says that a plan has been applied to open doors.
	changed struct{}
	// portNews is the state of a serial port; without a cause it is open.
	portNews struct{ port, cause string }
)

// Open opens the doors that cfg describes, or changes open doors accordingly. Masters on a door
// that stays are not disturbed. Their requests go to h.
func (d *Doors) Open(c *actors.Context, cfg Config, h server.Handler) error {
	tcp, ports, err := waysOf(cfg)
	if err != nil {
		return actors.Broken(err)
	}
	d.Refusals.post = c.Post()
	d.admission.ask(c, cfg.GetAccess())
	d.warn(c, tcp)
	d.forget(ports)
	d.next = &plan{server.Config{
		Masters: int(cfg.GetMaxMasters()), PerAddress: int(cfg.GetMaxMastersPerAddress()), Idle: cfg.GetIdleTimeout().AsDuration(),
		Slow: cfg.GetSendTimeout().AsDuration(), InFlight: int(cfg.GetInFlight()), Log: c.Log(),
		Admit: d.admission.admit(),
	}, guard{h, &d.Refusals}, tcp, ports}
	d.carryOut(c)
	return nil
}

// carryOut applies the next plan unless another one is being applied.
func (d *Doors) carryOut(c *actors.Context) {
	p, srv, said := d.next, d.server, said(c)
	if p == nil || d.busy {
		return
	}
	d.next, d.busy = nil, true
	c.Do(openTime, func(context.Context) (any, error) {
		if srv != nil {
			return changed{}, srv.Change(p.limits, p.handler, p.tcp, p.ports, said)
		}
		srv, err := server.Open(p.limits, p.handler, p.tcp, p.ports, said)
		if err != nil {
			return nil, err
		}
		return opened{srv}, nil
	})
}

// forget drops the states of ports that are no longer served.
func (d *Doors) forget(ports []server.Port) {
	downs := map[string]string{}
	for _, p := range ports {
		downs[p.Path] = d.downs[p.Path]
	}
	d.downs = downs
}

// guard is a handler that also audits writes for which the master has no role.
type guard struct {
	server.Handler
	refusals *Refusals
}

// Forbidden implements server.RefusalHandler.
func (g guard) Forbidden(q *server.Query) {
	g.refusals.Add(q, strconv.Itoa(int(q.Unit)), "denied", "its role is not among writers")
}

// Take handles a message about the doors; it returns false if msg is none.
func (d *Doors) Take(c *actors.Context, msg any) bool {
	switch m := msg.(type) {
	case *access.Policy:
		d.admission.take(c, m)
		d.say(c)
	case accessdoor.Sweep:
		d.sweep(c)
	case opened:
		d.server = m.Server
		d.done(c)
	case changed:
		d.done(c)
	case portNews:
		d.news(c, m)
	case look:
		d.Refusals.tell(c)
	case *modbusv1.MastersRequest:
		c.Reply(d.masters())
	case *modbusv1.MastersServiceTraceRequest:
		d.trace(c, m)
	default:
		return d.admission.take(c, msg)
	}
	return true
}

func (d *Doors) done(c *actors.Context) {
	d.busy = false
	d.say(c)
	d.sweep(c) // masters may have connected under the former settings
	d.carryOut(c)
}

// news notes the state of a serial port.
func (d *Doors) news(c *actors.Context, m portNews) {
	if _, served := d.downs[m.port]; !served {
		return
	}
	d.downs[m.port] = m.cause
	if d.server != nil {
		d.say(c)
	}
}

// say reports the doors' health.
func (d *Doors) say(c *actors.Context) {
	for _, cause := range d.downs {
		if cause != "" {
			c.Degraded(cause)
			return
		}
	}
	if d.server != nil && d.admission.Ready() {
		c.OK()
	}
}

// warn warns about doors that are open to everybody: about all of them at every start, later about
// each new one.
func (d *Doors) warn(c *actors.Context, tcp []server.TCP) {
	const warning = "masters are neither encrypted nor authenticated"
	known := d.exposed
	d.exposed = nil
	for _, t := range tcp {
		if !t.Exposed() {
			continue
		}
		d.exposed = append(d.exposed, t.Listen)
		if !slices.Contains(known, t.Listen) {
			c.Log().Warn("insecure: "+warning, "listen", t.Listen)
			c.Event("insecure", &modbusv1.InsecureDoor{Listen: t.Listen, Warning: warning})
		}
	}
	c.Warn("")
	if len(d.exposed) > 0 {
		c.Warn("insecure: " + strings.Join(d.exposed, ", ") + ": " + warning)
	}
}

// said returns a function that reports the states of serial ports to the actor.
func said(c *actors.Context) func(server.Port, error) {
	post := c.Post()
	return func(p server.Port, err error) {
		m := portNews{port: p.Path}
		if err != nil {
			m.cause = err.Error()
		}
		_ = post(m) // fails if the life is over, which needs no report
	}
}
