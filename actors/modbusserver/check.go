package modbusserver

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check finds what no rule of a single field can tell.
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

// checkPoint says what is wrong with one point by itself.
func checkPoint(p *modbusv1.ServedPoint, cfg *modbusv1.Server) error {
	q, err := pointOf(p, cfg)
	switch {
	case err != nil:
		return err
	case q.Bits() && p.Type != "" && p.Type != points.Bool:
		return fmt.Errorf("area %s holds single bits and cannot be %s: leave type out, or take holding or input", p.Area, p.Type)
	}
	return q.Check()
}
