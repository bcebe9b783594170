package modbusgateway

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusdoor"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check finds what no rule of a single field can tell.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Gateway)
	_, wrong := routesOf(cfg.Routes)
	return append(modbusdoor.Check(cfg), wrong...)
}
