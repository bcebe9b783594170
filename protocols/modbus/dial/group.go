package dial

import "net/netip"

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
