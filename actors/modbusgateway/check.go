package modbusgateway

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusdoor"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check validates what the rules of single fields cannot express.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Gateway)
	_, wrong := routesOf(cfg.Routes)
	return append(modbusdoor.Check(cfg), wrong...)
}
