// Package modbusserver implements the modbus-server actor kind: it shows points of the bus to
// Modbus masters. Samples of any actor become registers, and writes of masters become calls.
// Connections and requests are handled by package protocols/modbus/server, the register image by
// protocols/modbus/image.
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

// Kind describes the modbus-server actor kind.
var Kind = actors.Define(actors.Kind{
	Name:      "modbus-server",
	Doc:       "Shows points of any actor to Modbus masters as registers, and turns what they write into calls.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_server_proto, "MastersService")},
	Publishes: modbusdoor.Publishes,
	Live:      true,
	Limit:     4096,
	Check:     check,
	Beside:    beside,
}, func(cfg *modbusv1.Server) actors.Actor {
	return &shop{cfg: cfg, heard: map[string]bool{}, jobs: map[*server.Master][]*job{}}
})

// shop is the actor.
type shop struct {
	cfg   *modbusv1.Server
	doors modbusdoor.Doors
	stock *stock
	heard map[string]bool // paths whose samples are subscribed to
	sweep *actors.Timer
	jobs  map[*server.Master][]*job
	open  int // number of jobs, running and waiting
}

// sweep tells the actor to look for values older than max-age.
type sweep struct{}

func (s *shop) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return s.show(c)
	case actors.Reconfigured:
		s.cfg = m.Config.(*modbusv1.Server)
		return s.show(c)
	case actors.Delivery:
		s.stock.deliver(c, m, time.Now())
	case sweep:
		s.stock.sweep(time.Now())
	case *job:
		s.take(c, m)
	case actors.Called:
		s.called(c, m)
	case actors.Failed:
		if !s.doors.Take(c, m) {
			return m.Err
		}
	default:
		s.doors.Take(c, msg)
	}
	return nil
}

// show opens the TCP and serial ports. If they are open already, it replaces the points shown on
// them.
func (s *shop) show(c *actors.Context) error {
	stock, err := newStock(s.cfg)
	if err != nil {
		return actors.Broken(err)
	}
	if s.stock != nil {
		stock.inherit(s.stock)
	}
	s.stock = stock
	for _, path := range stock.paths() {
		if s.heard[path] {
			continue
		}
		if err := c.Subscribe("data/" + path + "/+"); err != nil {
			return fmt.Errorf("subscribe to the samples of %s: %w", path, err)
		}
		s.heard[path] = true
	}
	s.sweep.Stop()
	if age := s.cfg.MaxAge.AsDuration(); age > 0 {
		s.sweep = c.Every(max(age/8, 50*time.Millisecond), sweep{})
	}
	return s.doors.Open(c, s.cfg, newHandler(c, s.cfg, stock.image))
}
