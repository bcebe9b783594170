package server

import (
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
