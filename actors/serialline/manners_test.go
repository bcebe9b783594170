package serialline_test

import (
	"testing"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/serialline"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestManners(t *testing.T) {
	actorstest.Conform(t, serialline.Kind, &modbusv1.SerialLine{Port: t.TempDir() + "/tty"})
}
