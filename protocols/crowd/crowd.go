// Package crowd groups client addresses for the limits of listeners.
package crowd

import (
	"net"
	"net/netip"
)

// Group returns what counts as one address for limits: an IPv4 address, this machine, or the /64
// that an IPv6 host usually has for itself.
func Group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() && !a.IsLoopback() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Of returns the group of a connection's remote address. All clients without an IP address, such as
// those on a unix socket, are one group.
func Of(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	return Group(ap.Addr())
}

// Self returns how a server reaches its own listener at host:port, to check that it answers. Where
// possible it uses a loopback address of its own, so that it does not count as one of the clients
// on this machine.
func Self(listener string) (d net.Dialer, address string) {
	at, err := netip.ParseAddrPort(listener)
	if err != nil {
		return d, listener
	}
	ip := at.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	switch {
	case ip.Is4():
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 'g', 'w', 'd')}
	case ip.IsGlobalUnicast(): // from its own address it would count as one of the hosts of its /64
		d.LocalAddr = &net.TCPAddr{IP: net.IPv6loopback}
	}
	return d, netip.AddrPortFrom(ip, at.Port()).String()
}
