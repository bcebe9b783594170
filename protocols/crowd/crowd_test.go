package crowd_test

import (
	"net"
	"net/netip"
	"testing"

	"gatewayd/protocols/crowd"
)

func TestWhatCountsAsOneAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "::1": "::1/128", "127.0.0.2": "127.0.0.2/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := crowd.Group(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestSelf(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:80": "127.103.119.100 to 127.0.0.1:80", "0.0.0.0:80": "127.103.119.100 to 127.0.0.1:80", "[::]:80": "127.103.119.100 to 127.0.0.1:80",
		"192.0.2.7:80": "127.103.119.100 to 192.0.2.7:80", "[::1]:80": "any to [::1]:80",
		"[2001:db8::7]:80": "::1 to [2001:db8::7]:80", "[fe80::7%eth0]:80": "any to [fe80::7%eth0]:80", "/run/socket": "any to /run/socket",
	} {
		d, to := crowd.Self(in)
		from := "any"
		if a, ok := d.LocalAddr.(*net.TCPAddr); ok {
			from = a.IP.String()
		}
		if got := from + " to " + to; got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
