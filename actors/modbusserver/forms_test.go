package modbusserver_test

import (
	"testing"

	"gatewayd/actors/modbusserver"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// A served point accepts every type and order that a point of a unit accepts, in the same spelling.
func TestAServedPointHasTheFormsOfAUnitsPoint(t *testing.T) {
	forms := [][2]string{{"float32", "CDAB"}, {"uint64", "ghefcdab"}, {"int32", points.WordSwap}, {"float64", points.LittleEndian}, {"uint16", points.ByteSwap}, {"uint32", points.BigEndian}}
	for _, form := range points.Types() {
		if form != points.Bytes { // not available in configs
			forms = append(forms, [2]string{form, ""})
		}
	}
	for _, f := range forms {
		kind, order := f[0], f[1]
		var length uint32
		if kind == points.String {
			length = 4
		}
		var bit *uint32
		if kind == points.Bool {
			bit = new(uint32)
		}
		unit := &modbusv1.Unit{Link: linkPath, Unit: 1, Points: []*modbusv1.Point{{Name: "p", Address: 10, Type: kind, Order: order, Length: length, Bit: bit}}}
		server := &modbusv1.Server{
			Tcp:    []*modbusv1.TcpDoor{{Listen: "127.0.0.1:1502"}},
			Points: []*modbusv1.ServedPoint{{From: meterPath, Point: "p", Address: 10, Type: kind, Order: order, Length: length, Bit: bit}},
		}
		schemas.Defaults(unit)
		schemas.Defaults(server)
		for who, wrong := range map[string][]schemas.Violation{
			"unit":   append(schemas.Check(unit), modbusunit.Kind.Check(unit)...),
			"server": append(schemas.Check(server), modbusserver.Kind.Check(server)...),
		} {
			if len(wrong) > 0 {
				t.Errorf("%s: type %q, order %q: %v", who, kind, order, wrong)
			}
		}
	}
}
