// Package modbusdoor is what the kinds that let Modbus masters in have in
// common: doors as a config names them, and the gate past which requests reach
// units: the firewall's verdict and the audit. It is no kind itself; who connects
// and what he sends is package protocols/modbus/server's business.
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

// openTime is how long opening doors may take.
const openTime = 10 * time.Second

// Doors are those of one life of an actor, which hands them every message that
// it does not know.
type Doors struct {
	Refusals  Refusals
	admission admission
	server    *server.Server // nil until they are open
	downs     map[string]string
	exposed   []string
	busy      bool  // a plan is being carried out
	next      *plan // the latest one meanwhile
}

// plan is how doors shall be.
type plan struct {
	limits  server.Config
	handler server.Handler
	tcp     []server.TCP
	ports   []server.Port
}

type (
	// opened is what opening the doors gives; the life owns it.
	opened struct{ *server.Server }
	// changed says that the doors are as they shall be.
	changed struct{}
	// portNews is what became of a serial port; no cause: it is open.
	portNews struct{ port, cause string }
)

// Open opens the doors that cfg names, or makes doors that are open so: masters
// whose door stays are not disturbed. They talk to h.
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
		Masters: int(cfg.GetMaxMasters()), PerAddress: int(cfg.GetMaxMastersPerAddress()), Idle: cfg.GetIdle().AsDuration(),
		Slow: cfg.GetSlow().AsDuration(), InFlight: int(cfg.GetInFlight()), Log: c.Log(),
		Admit: d.admission.admit(),
	}, guard{h, &d.Refusals}, tcp, ports}
	d.carryOut(c)
	return nil
}

// carryOut does what is planned, unless something is being done.
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

// forget forgets what became of ports that are not served any more.
func (d *Doors) forget(ports []server.Port) {
	downs := map[string]string{}
	for _, p := range ports {
		downs[p.Path] = d.downs[p.Path]
	}
	d.downs = downs
}

// guard tells of writes for which masters have no role.
type guard struct {
	server.Handler
	refusals *Refusals
}

// Forbidden implements server.Porter.
func (g guard) Forbidden(q *server.Query) {
	g.refusals.Add(q, strconv.Itoa(int(q.Unit)), "denied", "none of the door's writers")
}

// Take takes what concerns the doors; false if msg does not.
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
	d.sweep(c) // who came in while it was another door
	d.carryOut(c)
}

// news notes whether a serial port is there.
func (d *Doors) news(c *actors.Context, m portNews) {
	if _, served := d.downs[m.port]; !served {
		return
	}
	d.downs[m.port] = m.cause
	if d.server != nil {
		d.say(c)
	}
}

// say tells the world how the doors are.
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

// warn says at every start, and of every new one, which doors are open to
// everybody.
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

// said passes on what becomes of serial ports.
func said(c *actors.Context) func(server.Port, error) {
	post := c.Post()
	return func(p server.Port, err error) {
		m := portNews{port: p.Path}
		if err != nil {
			m.cause = err.Error()
		}
		_ = post(m) // a life that is over need not know
	}
}
