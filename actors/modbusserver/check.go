package modbusserver

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check finds what no rule of a single field can tell.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Server)
	var found []schemas.Violation
	if len(cfg.Tcp)+len(cfg.Serial) == 0 {
		_, err := doorsOf(nil, nil)
		found = schemas.Wrong("", err)
	}
	for i, t := range cfg.Tcp {
		_, err := doorsOf([]*modbusv1.TcpDoor{t}, nil)
		found = append(found, schemas.Wrong(fmt.Sprintf("tcp[%d].listen", i), err)...)
	}
	for i, p := range cfg.Serial {
		_, err := doorsOf(nil, []*modbusv1.SerialDoor{p})
		found = append(found, schemas.Wrong(fmt.Sprintf("serial[%d]", i), err)...)
	}
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
