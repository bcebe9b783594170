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
	TLS     *Files         // nil: neither encryption nor authentication
	Readers []string       // roles that may read; none: every master
	Writers []string       // roles that may write; none: every master
}

// Exposed reports whether other machines can connect without authentication.
func (t TCP) Exposed() bool { return t.TLS == nil && !loopback(t.Listen) }

// loopback reports whether a listener can be reached from this machine only.
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

// allow returns the function for Door.Allow; nil: everything is allowed.
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

// Port is a serial port to which a master is connected.
type Port struct {
	serial.Config
	Framing modbus.Framing // RTU or ASCII
}

// Name returns the name of the port as displayed.
func (p Port) Name() string { return "serial " + p.Path }
