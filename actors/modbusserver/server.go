// Package modbusserver is the actor type that shows points of the bus to Modbus
// masters: samples of any actor are registers, and what masters write becomes
// calls. Who connects and what they send is package protocols/modbus/server's
// business; registers are protocols/modbus/image's.
package modbusserver

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind is all this package shows the gateway.
var Kind = actors.Define(actors.Kind{
	Name:     "modbus-server",
	Doc:      "Shows points of any actor to Modbus masters as registers, and turns what they write into calls.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_server_proto, "MastersService")},
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "audited", Message: &modbusv1.Audited{}},
		{Class: "event", Leaf: "insecure", Message: &modbusv1.InsecureDoor{}},
	},
	Limit: 4096,
	Check: check,
}, func(cfg *modbusv1.Server) actors.Actor {
	return &shop{cfg: cfg}
})

// shop is the actor.
type shop struct {
	cfg   *modbusv1.Server
	doors modbusdoor.Doors
	stock *stock
	jobs  map[*server.Master][]*job
	open  int // jobs
}

// sweep is the moment to look for values that have grown old.
type sweep struct{}

func (s *shop) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return s.start(c)
	case actors.Delivery:
		s.stock.deliver(c, m, time.Now())
	case sweep:
		s.stock.sweep(time.Now())
	case *job:
		s.take(c, m)
	case actors.Called:
		s.called(c, m)
	case actors.Failed:
		return m.Err
	default:
		s.doors.Take(c, msg)
	}
	return nil
}

func (s *shop) start(c *actors.Context) error {
	stock, err := newStock(s.cfg)
	if err != nil {
		return actors.Broken(err)
	}
	s.stock, s.jobs = stock, map[*server.Master][]*job{}
	for _, path := range stock.paths() {
		if err := c.Subscribe("data/" + path + "/+"); err != nil {
			return fmt.Errorf("subscribe to the samples of %s: %w", path, err)
		}
	}
	if age := s.cfg.MaxAge.AsDuration(); age > 0 {
		c.Every(max(age/8, 50*time.Millisecond), sweep{})
	}
	return s.doors.Open(c, s.cfg, newDesk(c, s.cfg, stock.image))
}
