// Package modbusgateway implements the modbus-gateway actor kind: it lets many Modbus masters share
// the units behind lines and links. Connections and requests are handled by package
// protocols/modbus/server, the order of transactions by protocols/modbus/share.
package modbusgateway

import (
	"errors"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/server"
	"gatewayd/protocols/modbus/share"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the modbus-gateway actor kind.
var Kind = actors.Define(actors.Kind{
	Name: "modbus-gateway",
	Doc:  "Lets many Modbus masters share the units behind lines and links.",
	Services: []protoreflect.ServiceDescriptor{
		actors.Service(modbusv1.File_modbus_v1_server_proto, "MastersService"),
		actors.Service(modbusv1.File_modbus_v1_gateway_proto, "GatewayService"),
	},
	Publishes: modbusdoor.Publishes,
	Live:      true,
	Limit:     16384,
	Check:     check,
}, func(cfg *modbusv1.Gateway) actors.Actor {
	return &gateway{cfg: cfg, epoch: time.Now(), schedulers: map[string]*scheduler{}, counts: &share.Counts{}}
})

type (
	scheduler   = share.Scheduler[*server.Master, waiter]
	transaction = share.Transaction[*server.Master, waiter]
)

type gateway struct {
	cfg        *modbusv1.Gateway
	epoch      time.Time
	doors      modbusdoor.Doors
	gate       modbusdoor.Gate
	schedulers map[string]*scheduler // by link
	counts     *share.Counts
}

func (g *gateway) now() time.Duration { return time.Since(g.epoch) }

func (g *gateway) Receive(c *actors.Context, msg any) error {
	if g.gate.Take(c, msg) {
		return nil
	}
	switch m := msg.(type) {
	case *asked:
		g.take(c, m)
	case *dispatch.Answer:
		g.answered(c, m)
	case *dispatch.Transacted:
		g.transacted(c, m)
	case actors.Failed:
		return g.failed(c, m)
	case actors.Started:
		return g.open(c)
	case actors.Reconfigured:
		g.cfg = m.Config.(*modbusv1.Gateway)
		return g.open(c)
	case *modbusv1.TrafficRequest:
		c.Reply(traffic(g.counts))
	default:
		g.doors.Take(c, msg)
	}
	return nil
}

// open opens the TCP and serial ports, or puts a changed config in force. Requests under way end as
// they began.
func (g *gateway) open(c *actors.Context) error {
	routes, wrong := routesOf(g.cfg.Routes)
	if len(wrong) > 0 {
		return actors.Broken(errors.New(wrong[0].Message))
	}
	for link, d := range g.schedulers {
		if routes.leadTo(link) {
			d.SetLimit(int(g.cfg.Outstanding))
		} else {
			delete(g.schedulers, link) // requests that wait in it are still carried out
		}
	}
	return g.doors.Open(c, g.cfg, &handler{routes: routes, counts: g.counts, refusals: &g.doors.Refusals, post: c.Post()})
}
