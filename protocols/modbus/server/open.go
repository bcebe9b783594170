package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
)

// TCP is a TCP port to listen on.
type TCP struct {
	Listen  string         // host:port
	Framing modbus.Framing // TCP, RTUOverTCP or ASCIIOverTCP
	TLS     *Files         // nil: neither encryption nor proof who asks
	Readers []string       // roles that may read; none: every master
	Writers []string       // roles that may write; none: every master
}

// Exposed says whether other machines can get in without proving who they are.
func (t TCP) Exposed() bool { return t.TLS == nil && !loopback(t.Listen) }

// loopback tells whether only this machine can reach a listener.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// allow is who may what; nil: everybody everything.
func (t TCP) allow() func(role string, write bool) bool {
	if len(t.Readers) == 0 && len(t.Writers) == 0 {
		return nil
	}
	return func(role string, write bool) bool {
		may := t.Readers
		if write {
			may = t.Writers
		}
		return len(may) == 0 || slices.Contains(may, role)
	}
}

// Port is a serial port at which a master asks.
type Port struct {
	serial.Config
	Framing modbus.Framing // RTU or ASCII
}

// Name is how the port is listed.
func (p Port) Name() string { return "serial " + p.Path }

// Open makes a server and opens its doors. said is told whenever a serial port was opened (nil) or cannot be or was lost, which is
// tried again for ever; it is called by other goroutines. A TCP port that cannot be had is an error.
func Open(cfg Config, h Handler, ways []TCP, ports []Port, said func(Port, error)) (*Server, error) {
	s := New(cfg, h)
	for _, w := range ways {
		if err := s.open(w); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	for _, p := range ports {
		err := s.Line(Line{
			Name: p.Name(), Framing: p.Framing, Baud: p.Baud,
			Open: func() (modbus.Conn, error) { return serial.Open(p.Config) },
			Said: func(err error) { said(p, err) },
		})
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func (s *Server) open(t TCP) error {
	name := t.Framing.String() + " " + t.Listen
	var secure *tls.Config
	if t.TLS != nil {
		var err error
		if secure, err = t.TLS.TLS(); err != nil {
			return fmt.Errorf("listen on %s: %w", t.Listen, err)
		}
		name = "tls " + t.Listen
	}
	l, err := net.Listen("tcp", t.Listen)
	if err != nil {
		return err
	}
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	return s.Listen(l, Door{Name: name, Framing: t.Framing, Allow: t.allow()})
}
