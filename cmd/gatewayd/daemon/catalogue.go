package daemon

import (
	"iter"

	"gatewayd/actors"
	"gatewayd/bus"
)

// catalogue lists every actor as a service, for standard NATS micro tools.
func (d *Gateway) catalogue() iter.Seq[bus.Service] {
	return func(yield func(bus.Service) bool) {
		for _, cell := range d.system.Cells() {
			if !yield(service(d.Bus.Gateway(), cell)) {
				return
			}
		}
	}
}

func service(gateway string, cell *actors.Cell) bus.Service {
	s := bus.Service{
		Name: cell.Kind().Name, ID: cell.Path(), Version: actors.Version, Description: cell.Kind().Doc,
		Metadata: map[string]string{"gateway": gateway, "health": cell.State()}, Started: cell.Since(),
	}
	called := map[string]actors.MethodStats{}
	for _, m := range cell.Called() {
		called[m.Method] = m
	}
	for _, name := range cell.Methods() {
		in, out, stream := cell.Signature(name)
		meta := map[string]string{"request": in, "response": out}
		if stream {
			meta["stream"] = "true"
		}
		m := called[name]
		s.Endpoints = append(s.Endpoints, bus.Endpoint{
			Name: name, Subject: bus.Subject(gateway, bus.Cmd, cell.Path(), name), Metadata: meta,
			Stats: bus.EndpointStats{Requests: int(m.Calls), Errors: int(m.Errors), LastError: m.LastError, Time: m.Time},
		})
	}
	return s
}
