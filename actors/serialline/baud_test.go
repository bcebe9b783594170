package serialline_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/serial"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// The baud rates that configs allow are those that a port can be set to.
func TestBaudIsThatOfPorts(t *testing.T) {
	for _, m := range []proto.Message{&modbusv1.SerialLine{}, &modbusv1.SerialDoor{}, &modbusv1.TcpLink{}, &modbusv1.DtuLink{}} {
		fd := schemas.FieldByKey(m.ProtoReflect().Descriptor(), "baud")
		if fd == nil {
			t.Fatalf("%T has no baud", m)
		}
		rule := schemas.RuleOf(fd)
		if rule.GetMax() != serial.MaxBaud || rule.Min != nil && rule.GetMin() != serial.MinBaud {
			t.Errorf("baud of %s is %v to %v, that of ports %d to %d", m.ProtoReflect().Descriptor().Name(), rule.GetMin(), rule.GetMax(), serial.MinBaud, serial.MaxBaud)
		}
	}
}
