package server

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
)

// Open returns a server with open doors; see Change.
func Open(cfg Config, h Handler, ways []TCP, ports []Port, said func(Port, error)) (*Server, error) {
	s := New(cfg, h)
	if err := s.Change(cfg, h, ways, ports, said); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Change sets the server's limits, Handler and doors, and reads the certificates again. Masters
// stay connected if their door remains: a TCP port with the same framing and still with, or still
// without, TLS; a serial port with the same settings. Their rights are those that the door's roles
// now grant. All others are disconnected. Limits on connections apply to new masters only, those on
// requests to all.
//
// said is called whenever a serial port was opened (nil), cannot be opened or was lost; opening is
// then retried forever. It is called by other goroutines. A certificate that cannot be read or a
// TCP port that cannot be opened is an error: nothing has changed then.
func (s *Server) Change(cfg Config, h Handler, ways []TCP, ports []Port, said func(Port, error)) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	cfg = cfg.complete()
	doors := make([]Door, len(ways))
	for i, t := range ways {
		var err error
		if doors[i], err = t.door(cfg); err != nil {
			return err
		}
	}
	news, err := listeners(ways, s.ways)
	if err != nil {
		return err
	}
	s.settings.Store(&settings{cfg, h})
	return errors.Join(s.changeWays(ways, doors, news), s.changePorts(ports, said))
}

// door returns the Door for a TCP port.
func (t TCP) door(cfg Config) (Door, error) {
	d := Door{Name: t.Framing.String() + " " + t.Listen, Framing: t.Framing, Allow: t.allow()}
	if t.TLS == nil {
		return d, nil
	}
	if d.Name = "tls " + t.Listen; t.Framing != modbus.TCP {
		d.Name = "tls " + t.Framing.String() + " " + t.Listen
	}
	var err error
	if d.keys, err = newKeys(*t.TLS, cfg.Log); err != nil {
		return d, fmt.Errorf("listen on %s: %w", t.Listen, err)
	}
	return d, nil
}

// listeners opens the ports that are not open yet.
func listeners(ways []TCP, have map[string]*entry) (map[string]net.Listener, error) {
	news := map[string]net.Listener{}
	for i, t := range ways {
		var l net.Listener
		var err error
		switch {
		case slices.ContainsFunc(ways[:i], func(o TCP) bool { return o.Listen == t.Listen }):
			err = fmt.Errorf("listen on %s: two listeners have this address", t.Listen)
		case have[t.Listen] != nil:
			continue
		default:
			l, err = net.Listen("tcp", t.Listen)
		}
		if err != nil {
			for _, l := range news {
				_ = l.Close()
			}
			return nil, err
		}
		news[t.Listen] = l
	}
	return news, nil
}

func (s *Server) changeWays(ways []TCP, doors []Door, news map[string]net.Listener) error {
	old := s.ways
	s.ways = map[string]*entry{}
	var errs []error
	for i, t := range ways {
		e := old[t.Listen]
		delete(old, t.Listen)
		if e == nil {
			var err error
			if e, err = s.listen(news[t.Listen], doors[i]); err != nil {
				errs = append(errs, err)
				continue
			}
		} else {
			s.become(e, &doors[i])
		}
		s.ways[t.Listen] = e
	}
	for _, e := range old {
		s.shut(e)
	}
	return errors.Join(errs...)
}

// become replaces the door behind a listener. Its masters stay connected unless the change is
// visible to them.
func (s *Server) become(e *entry, d *Door) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := e.door.Swap(d); was.Name != d.Name {
		s.cutAll(e)
	}
}

// shut closes a listener and disconnects its masters.
func (s *Server) shut(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.doors, e)
	_ = e.listener.Close()
	s.cutAll(e)
}

// cutAll disconnects the masters of a door. The Server is locked.
func (s *Server) cutAll(e *entry) {
	for m := range s.masters {
		if m.entry == e {
			m.close()
		}
	}
}

func (s *Server) changePorts(ports []Port, said func(Port, error)) error {
	old := s.ports
	s.ports = map[string]*attendance{}
	for _, p := range ports {
		if a := old[p.Path]; a != nil && a.port.same(p) {
			s.ports[p.Path] = a
			delete(old, p.Path)
		}
	}
	for _, a := range old {
		s.leaveLine(a)
	}
	for _, p := range ports {
		if s.ports[p.Path] != nil {
			continue
		}
		a, err := s.attend(Line{
			Name: p.Name(), Framing: p.Framing, Baud: p.Baud,
			Open: func() (modbus.Conn, error) { return serial.Open(p.Config) },
			Said: func(err error) { said(p, err) },
		})
		if err != nil {
			return err
		}
		a.port = p
		s.ports[p.Path] = a
	}
	return nil
}

// same reports whether p and q are the same port with the same settings.
func (p Port) same(q Port) bool {
	a, b := p.RS485, q.RS485
	p.RS485, q.RS485 = nil, nil
	return p == q && (a == b || a != nil && b != nil && *a == *b)
}
