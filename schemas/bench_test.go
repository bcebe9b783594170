package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// BenchmarkCall measures what every call on the bus spends on defaults and checks.
func BenchmarkCall(b *testing.B) {
	for _, c := range []struct {
		name string
		m    proto.Message
	}{
		{"read", &modbusv1.ReadRegistersRequest{Address: 100, Quantity: 10}},
		{"write", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(100), Values: []uint32{1}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				schemas.Defaults(c.m)
				if bad := schemas.Check(c.m); len(bad) > 0 {
					b.Fatal(bad)
				}
			}
		})
	}
}
