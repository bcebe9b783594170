package modbusunit_test

import (
	"testing"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestManners(t *testing.T) {
	cfg := &modbusv1.Unit{Link: linkPath, Unit: 7, Points: []*modbusv1.Point{{Name: "power", Area: "input", Address: 12, Type: "float32"}}}
	actorstest.Conform(t, modbusunit.Kind, cfg, serialline.Kind)
}
