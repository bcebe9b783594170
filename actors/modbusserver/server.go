// Package modbusserver is the actor type that shows points of the bus to Modbus
// masters: samples of any actor are registers, and what masters write becomes
// calls. Who connects and what they send is package protocols/modbus/server's
// business; registers are protocols/modbus/image's.
package modbusserver

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind is all this package shows the gateway.
var Kind = actors.Define(actors.Kind{
	Name:      "modbus-server",
	Doc:       "Shows points of any actor to Modbus masters as registers, and turns what they write into calls.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_server_proto, "MastersService")},
	Publishes: []actors.Leaf{{Class: "event", Leaf: "insecure", Message: &modbusv1.InsecureDoor{}}},
	Limit:     4096,
	Check:     check,
}, func(cfg *modbusv1.Server) actors.Actor {
	return &shop{cfg: cfg}
})

// openTime is how long opening the doors may take.
const openTime = 10 * time.Second

// shop is the actor.
type shop struct {
	cfg    *modbusv1.Server
	stock  *stock
	server *server.Server // nil until its doors are open
	downs  map[string]string
	jobs   map[*server.Master][]*job
	open   int // jobs
}

type (
	// opened is what opening the doors gives; the life owns it.
	opened struct{ *server.Server }
	// sweep is the moment to look for values that have grown old.
	sweep struct{}
)

func (s *shop) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return s.start(c)
	case opened:
		s.server = m.Server
		s.say(c)
	case portNews:
		s.news(c, m)
	case actors.Delivery:
		s.stock.deliver(c, m, time.Now())
	case sweep:
		s.stock.sweep(time.Now())
	case *job:
		s.take(c, m)
	case actors.Called:
		s.called(c, m)
	case *modbusv1.MastersRequest:
		c.Reply(masters(s.server))
	case actors.Failed:
		return m.Err
	}
	return nil
}

func (s *shop) start(c *actors.Context) error {
	stock, err := newStock(s.cfg)
	if err != nil {
		return actors.Broken(err)
	}
	d, err := doorsOf(s.cfg.Tcp, s.cfg.Serial)
	if err != nil {
		return actors.Broken(err)
	}
	s.stock, s.downs, s.jobs = stock, map[string]string{}, map[*server.Master][]*job{}
	for _, path := range stock.paths() {
		if err := c.Subscribe("data/" + path + "/+"); err != nil {
			return fmt.Errorf("subscribe to the samples of %s: %w", path, err)
		}
	}
	if age := s.cfg.MaxAge.AsDuration(); age > 0 {
		c.Every(max(age/8, 50*time.Millisecond), sweep{})
	}
	d.warn(c)
	cfg := server.Config{
		Masters: int(s.cfg.MaxMasters), PerAddress: int(s.cfg.MaxMastersPerAddress), Idle: s.cfg.Idle.AsDuration(),
		Slow: s.cfg.Slow.AsDuration(), InFlight: int(s.cfg.InFlight), Log: c.Log(),
	}
	h := newDesk(c, s.cfg, stock.image)
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
func (s *shop) news(c *actors.Context, m portNews) {
	delete(s.downs, m.port)
	if m.cause != "" {
		s.downs[m.port] = m.cause
	}
	if s.server != nil {
		s.say(c)
	}
}

// say tells the world how the doors are.
func (s *shop) say(c *actors.Context) {
	for _, cause := range s.downs {
		c.Degraded(cause)
		return
	}
	c.OK()
}
