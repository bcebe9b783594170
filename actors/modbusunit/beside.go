package modbusunit

import (
	"fmt"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// place is the address at which a unit answers.
type place struct {
	link string
	unit uint32
}

// beside finds conflicts between units, and between units and their lines.
func beside(all []schemas.Actor) []schemas.Finding {
	lines := map[string]bool{}
	for _, a := range all {
		if _, ok := a.Config.(*modbusv1.SerialLine); ok {
			lines[a.Path] = true
		}
	}
	var found []schemas.Finding
	first := map[place]string{}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.Unit)
		if !ok {
			continue
		}
		if lines[cfg.Link] && len(cfg.Points) > 0 && (cfg.Unit == 0 || cfg.Unit > 247) {
			found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{Field: "unit", Message: unanswered(cfg.Unit)}})
		}
		at := place{cfg.Link, cfg.Unit}
		if other := first[at]; other != "" {
			found = append(found, schemas.Finding{Actor: a.Path, Beside: other, Violation: schemas.Violation{
				Field: "unit", Other: "unit", Warning: true,
				Message: fmt.Sprintf("%q is also unit %d of %q: use one actor for one device, or give two devices different addresses", other, cfg.Unit, cfg.Link),
			}})
			continue
		}
		first[at] = a.Path
	}
	return append(found, crowded(all)...)
}

// unanswered says why no device on a serial line answers at the address unit (Modbus over Serial
// Line §2.2).
func unanswered(unit uint32) string {
	if unit == 0 {
		return "0 is the broadcast address of a serial line, which no device answers: set 1 to 247, or no points"
	}
	return fmt.Sprintf("%d is reserved on a serial line: set 1 to 247", unit)
}
