// Package modbusgateway is the actor type that lets many Modbus masters share
// the units behind lines and links. Who connects and what they send is package
// protocols/modbus/server's business, who is next protocols/modbus/share's.
package modbusgateway

import (
	"context"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	"gatewayd/protocols/modbus/wire"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind is all this package shows the gateway.
var Kind = actors.Define(actors.Kind{
	Name: "modbus-gateway",
	Doc:  "Lets many Modbus masters share the units behind lines and links.",
	Services: []protoreflect.ServiceDescriptor{
		actors.Service(modbusv1.File_modbus_v1_server_proto, "MastersService"),
		actors.Service(modbusv1.File_modbus_v1_gateway_proto, "GatewayService"),
	},
	Publishes: []actors.Leaf{{Class: "event", Leaf: "insecure", Message: &modbusv1.InsecureDoor{}}},
	Limit:     16384,
	Check:     check,
}, func(cfg *modbusv1.Gateway) actors.Actor {
	return &gateway{cfg: cfg, epoch: time.Now(), desks: map[string]*desk{}, downs: map[string]string{}}
})

// openTime is how long opening the doors may take.
const openTime = 10 * time.Second

type (
	desk        = share.Desk[*server.Master, waiter]
	transaction = share.Transaction[*server.Master, waiter]
)

type gateway struct {
	cfg    *modbusv1.Gateway
	epoch  time.Time
	server *server.Server // nil until its doors are open
	downs  map[string]string
	desks  map[string]*desk // by link
	counts *share.Counts
}

// opened is what opening the doors gives; the life owns it.
type opened struct{ *server.Server }

func (g *gateway) now() time.Duration { return time.Since(g.epoch) }

func (g *gateway) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case *asked:
		g.take(c, m)
	case *wire.Answer:
		g.answered(c, m)
	case *wire.Transacted:
		g.transacted(c, m)
	case actors.Failed:
		return g.failed(c, m)
	case actors.Started:
		return g.start(c)
	case opened:
		g.server = m.Server
		g.say(c)
	case portNews:
		g.news(c, m)
	case *modbusv1.MastersRequest:
		c.Reply(masters(g.server))
	case *modbusv1.TrafficRequest:
		c.Reply(traffic(g.counts))
	}
	return nil
}

func (g *gateway) start(c *actors.Context) error {
	routes, err := routesOf(g.cfg.Routes)
	if err != nil {
		return actors.Broken(err)
	}
	d, err := doorsOf(g.cfg.Tcp, g.cfg.Serial)
	if err != nil {
		return actors.Broken(err)
	}
	d.warn(c)
	g.counts = &share.Counts{}
	cfg := server.Config{
		Masters: int(g.cfg.MaxMasters), PerAddress: int(g.cfg.MaxMastersPerAddress), Idle: g.cfg.Idle.AsDuration(),
		Slow: g.cfg.Slow.AsDuration(), InFlight: int(g.cfg.InFlight), Log: c.Log(),
	}
	h := &entrance{routes: routes, counts: g.counts, post: c.Post()}
	said := d.said(c)
	c.Do(openTime, func(context.Context) (any, error) {
		srv, err := server.Open(cfg, h, d.tcp, d.ports, said)
		if err != nil {
			return nil, err
		}
		return opened{srv}, nil
	})
	return nil
}

// news notes whether a serial port is there.
func (g *gateway) news(c *actors.Context, m portNews) {
	delete(g.downs, m.port)
	if m.cause != "" {
		g.downs[m.port] = m.cause
	}
	if g.server != nil {
		g.say(c)
	}
}

// say tells the world how the doors are. How lines and links are they tell
// themselves.
func (g *gateway) say(c *actors.Context) {
	for _, cause := range g.downs {
		c.Degraded(cause)
		return
	}
	c.OK()
}
