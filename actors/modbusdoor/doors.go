// Package modbusdoor is what the kinds that let Modbus masters in have in
// common: doors as a config names them, and the gate past which requests reach
// units: the firewall's verdict and the audit. It is no kind itself; who connects
// and what he sends is package protocols/modbus/server's business.
package modbusdoor

import (
	"context"
	"strconv"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// openTime is how long opening doors may take.
const openTime = 10 * time.Second

// Doors are those of one life of an actor, which hands them every message that
// it does not know.
type Doors struct {
	Refusals Refusals
	server   *server.Server // nil until they are open
	downs    map[string]string
}

type (
	// opened is what opening the doors gives; the life owns it.
	opened struct{ *server.Server }
	// portNews is what became of a serial port; no cause: it is open.
	portNews struct{ port, cause string }
)

// Open opens the doors that cfg names. Masters talk to h.
func (d *Doors) Open(c *actors.Context, cfg Config, h server.Handler) error {
	tcp, ports, err := waysOf(cfg)
	if err != nil {
		return actors.Broken(err)
	}
	d.downs, d.Refusals.post = map[string]string{}, c.Post()
	warn(c, tcp)
	limits := server.Config{
		Masters: int(cfg.GetMaxMasters()), PerAddress: int(cfg.GetMaxMastersPerAddress()), Idle: cfg.GetIdle().AsDuration(),
		Slow: cfg.GetSlow().AsDuration(), InFlight: int(cfg.GetInFlight()), Log: c.Log(),
	}
	said := said(c)
	c.Do(openTime, func(context.Context) (any, error) {
		srv, err := server.Open(limits, guard{h, &d.Refusals}, tcp, ports, said)
		if err != nil {
			return nil, err
		}
		return opened{srv}, nil
	})
	return nil
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

// Take takes what concerns the doors.
func (d *Doors) Take(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case opened:
		d.server = m.Server
		d.say(c)
	case portNews:
		d.news(c, m)
	case look:
		d.Refusals.tell(c)
	case *modbusv1.MastersRequest:
		c.Reply(d.masters())
	}
}

// news notes whether a serial port is there.
func (d *Doors) news(c *actors.Context, m portNews) {
	delete(d.downs, m.port)
	if m.cause != "" {
		d.downs[m.port] = m.cause
	}
	if d.server != nil {
		d.say(c)
	}
}

// say tells the world how the doors are.
func (d *Doors) say(c *actors.Context) {
	for _, cause := range d.downs {
		c.Degraded(cause)
		return
	}
	c.OK()
}

// warn says at every start which doors are open to everybody.
func warn(c *actors.Context, tcp []server.TCP) {
	const warning = "masters are neither encrypted nor authenticated"
	for _, t := range tcp {
		if t.Exposed() {
			c.Log().Warn("insecure: "+warning, "listen", t.Listen)
			c.Event("insecure", &modbusv1.InsecureDoor{Listen: t.Listen, Warning: warning})
		}
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
