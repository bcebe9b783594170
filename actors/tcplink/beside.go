package tcplink

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// beside finds links that lead to the same place, once for each place.
func beside(all []schemas.Actor) (found []schemas.Finding) {
	first, told := map[string]string{}, map[string]bool{}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.TcpLink)
		if !ok {
			continue
		}
		at := cfg.Transport + " " + place(target(cfg))
		other := first[at]
		if other == "" {
			first[at] = a.Path
			continue
		}
		if !told[at] {
			told[at] = true
			found = append(found, schemas.Finding{Actor: a.Path, Beside: other, Violation: schemas.Violation{
				Field: "address", Other: "address", Warning: true,
				Message: fmt.Sprintf("%q leads to %s as well: one link can serve all its units, and many devices accept a single connection only", other, target(cfg)),
			}})
		}
	}
	return found
}

// place returns the canonical spelling of an address.
func place(address string) string {
	host, port, _ := net.SplitHostPort(address)
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	return net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), port)
}
