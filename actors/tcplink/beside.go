package tcplink

import (
	"fmt"
	"strings"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// beside tells of links that lead to one place, once for each place.
func beside(all []schemas.Actor) (found []schemas.Finding) {
	first, told := map[string]string{}, map[string]bool{}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.TcpLink)
		if !ok {
			continue
		}
		place := strings.ToLower(cfg.Transport + " " + target(cfg))
		other := first[place]
		if other == "" {
			first[place] = a.Path
			continue
		}
		if !told[place] {
			told[place] = true
			found = append(found, schemas.Finding{Actor: a.Path, Beside: other, Violation: schemas.Violation{
				Field: "address", Other: "address", Warning: true,
				Message: fmt.Sprintf("%q leads to %s as well: one link carries what all units there need, and many devices take one connection only", other, target(cfg)),
			}})
		}
	}
	return found
}
