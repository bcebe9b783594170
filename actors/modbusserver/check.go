package modbusserver

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check validates what the rules of single fields cannot express.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Server)
	found := modbusdoor.Check(cfg)
	for i, p := range cfg.Points {
		found = append(found, schemas.Wrong(fmt.Sprintf("points[%d]", i), checkPoint(p, cfg))...)
	}
	if len(found) == 0 {
		_, err := newStock(cfg)
		found = schemas.Wrong("", err)
	}
	return found
}

// checkPoint validates one point by itself.
func checkPoint(p *modbusv1.ServedPoint, cfg *modbusv1.Server) error {
	q, err := pointOf(p, cfg)
	switch {
	case err != nil:
		return err
	case q.Bits() && p.Type != "" && p.Type != points.Bool:
		return fmt.Errorf("area %s holds single bits and cannot be %s: leave type out, or use area holding or input", p.Area, p.Type)
	}
	return q.Check()
}

// beside finds points that are missing in the config of the modbus-unit they come from, and points
// that masters may write but the unit cannot.
func beside(all []schemas.Actor) (found []schemas.Finding) {
	units := map[string]*modbusv1.Unit{}
	for _, a := range all {
		if cfg, ok := a.Config.(*modbusv1.Unit); ok {
			units[a.Path] = cfg
		}
	}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.Server)
		if !ok {
			continue
		}
		for i, p := range cfg.Points {
			why, field := schemas.NoPoint(all, p.From, p.Point), "point"
			if u := units[p.From]; u != nil && why == "" {
				why, field = unwritable(u, p), "writable"
			}
			if why != "" {
				found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{
					Field: fmt.Sprintf("points[%d].%s", i, field), Message: why,
				}})
			}
		}
	}
	return found
}

// unwritable returns why the unit cannot write a point that masters may write, or "".
func unwritable(u *modbusv1.Unit, p *modbusv1.ServedPoint) string {
	if !p.Writable || p.Call != "" {
		return ""
	}
	for _, q := range u.Points {
		if q.Name == p.Point && (q.Area == points.Input || q.Area == points.DiscreteInput) {
			return fmt.Sprintf("%q has point %q in area %s, which cannot be written", p.From, q.Name, q.Area)
		}
	}
	for _, d := range u.Derived {
		if d.Name == p.Point {
			return fmt.Sprintf("%q computes point %q, which cannot be written", p.From, d.Name)
		}
	}
	return ""
}
