// Package crowd tells for the caps of doors whom they count as one.
package crowd

import (
	"net"
	"net/netip"
)

// Group is what counts as one address where there are limits: an IPv4 address, this machine, or the /64 that an IPv6 host is commonly
// given whole.
func Group(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() && !a.IsLoopback() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// Of is the group of a connection's far end. All that have no IP address, such as clients of a unix socket, are one.
func Of(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	return Group(ap.Addr())
}

// Self is how a server reaches its own listener at host:port, to see whether it answers. Where it can, it comes from a loopback address of its own, so
// that it needs no place among the clients that come from this machine.
func Self(listener string) (d net.Dialer, address string) {
	at, err := netip.ParseAddrPort(listener)
	if err != nil {
		return d, listener
	}
	ip := at.Addr().Unmap()
	if ip.IsUnspecified() {
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if ip.Is4() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 'g', 'w', 'd')}
	}
	return d, netip.AddrPortFrom(ip, at.Port()).String()
}
