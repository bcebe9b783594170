package schemas

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	fieldv1 "gatewayd/schemas/field/v1"
)

// Claim is a resource outside the gateway that only one actor can use: an address to listen on, or
// a device.
type Claim struct {
	// Field is the dotted path of keys, e.g. "tcp[0].listen".
	Field string
	// Network is "tcp" or "udp"; "" for a device.
	Network string
	// Name is host:port, or the path of the device.
	Name string
}

// Claims returns the resources that m claims, in the order of the schema.
func Claims(m proto.Message) []Claim {
	var all []Claim
	eachField(m.ProtoReflect(), "", func(field string, fd protoreflect.FieldDescriptor, v protoreflect.Value, _ protoreflect.Message) {
		switch rule := RuleOf(fd); {
		case fd.IsList():
		case rule.GetListens() != "":
			all = append(all, Claim{field, rule.GetListens(), v.String()})
		case rule.GetDevice():
			all = append(all, Claim{field, "", v.String()})
		}
	})
	return all
}

// Clashes reports whether both claims cannot be satisfied at once. A port on all addresses
// conflicts with the same port on any address.
func (c Claim) Clashes(d Claim) bool {
	if c.Network != d.Network {
		return false
	}
	if c.Network == "" {
		return path.Clean(c.Name) == path.Clean(d.Name)
	}
	host, port, err := net.SplitHostPort(c.Name)
	other, same, err2 := net.SplitHostPort(d.Name)
	if err != nil || err2 != nil || portOf(port) != portOf(same) || portOf(port) == 0 {
		return false
	}
	a, b := address(host), address(other)
	return a == b || a == everywhere || b == everywhere
}

const everywhere = "*"

// address returns the canonical spelling of a host.
func address(host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified():
		return everywhere
	case strings.EqualFold(host, "localhost"):
		return "127.0.0.1"
	case err == nil:
		return ip.Unmap().String()
	}
	return strings.ToLower(host)
}

// portOf returns the number of a port, or -1 if it is invalid.
func portOf(port string) int {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// Exposed reports whether other machines can reach a listener at host:port.
func Exposed(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return !strings.EqualFold(host, "localhost") && (err != nil || !ip.Unmap().IsLoopback())
}

func (c *checker) listens(field string, rule *fieldv1.Rule, s string) {
	_, port, err := net.SplitHostPort(s)
	n := portOf(port)
	switch {
	case err != nil:
		c.add(field, "%q is not host:port, like \"127.0.0.1:1502\"", s)
	case n < 0 || n == 0 && !rule.GetAnyPort():
		least := 1
		if rule.GetAnyPort() {
			least = 0
		}
		c.add(field, "port %s is out of range: %d to 65535", port, least)
	}
}
