package dtulink_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Units behind a DTU are found among unused addresses. This costs no connection, because only the
// DTU could make another one.
func TestAScanBehindADTU(t *testing.T) {
	for name, f := range map[string]modbus.Framing{"rtu": modbus.RTUOverTCP, "ascii": modbus.ASCIIOverTCP, "tcp": modbus.TCP} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			at := listening(t, r, &modbusv1.DtuListener{})
			cell := linked(t, r, "site/a", &modbusv1.DtuLink{Registration: "1234", Framing: name})
			dials(t, at, "1234", f, 1)
			r.Until("it has called", func() bool { return cell.State() == actors.OK })
			var found []uint32
			m := &modbusv1.ScanRequest{Units: []uint32{6, 7, 8}, Wait: durationpb.New(time.Second)}
			err := r.Bus.Stream(t.Context(), bus.Subject(actorstest.Gateway, bus.Cmd, "site/a", "Scan"), m, func(m bus.Msg) error {
				one := &modbusv1.ScanResponse{}
				err := m.Decode(one)
				if one.Found != nil {
					found = append(found, one.Found.Unit)
				}
				return err
			})
			if err != nil || len(found) != 1 || found[0] != 7 {
				t.Errorf("%v, %v", found, err)
			}
			reads(t, r, "site/a", 1)
			s, err := actorstest.Call(r, "site/a", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{})
			if err != nil || s.Opened != 1 {
				t.Errorf("%v, %v", s, err)
			}
		})
	}
}
