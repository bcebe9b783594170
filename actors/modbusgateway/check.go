package modbusgateway

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check finds what no rule of a single field can tell.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Gateway)
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
	_, err := routesOf(cfg.Routes)
	return append(found, schemas.Wrong("routes", err)...)
}
