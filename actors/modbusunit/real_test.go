package modbusunit_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus/peer"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// peers are servers made with other Modbus libraries. Their registers hold their own address, and
// every third coil is on.
const peers = "../../protocols/modbus/testdata"

func TestRealDevicesOverTCP(t *testing.T) {
	for name, server := range map[string][]string{"pymodbus": peer.Pymodbus(t, filepath.Join(peers, "server.py")), "libmodbus": peer.Libmodbus(t, filepath.Join(peers, "server.c"))} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			noFault(t, r)
			port := freeport.Port(t)
			peer.Start(t, append(server, "tcp", port)...)
			r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: "127.0.0.1:" + port, MaxBackoff: ms(200), InFlight: 4})
			pollAndWrite(t, r)
			if name == "pymodbus" {
				identify(t, r)
			}
		})
	}
}

func TestRealDevicesOnALine(t *testing.T) {
	for name, server := range map[string][]string{"pymodbus": peer.Pymodbus(t, filepath.Join(peers, "server.py")), "libmodbus": peer.Libmodbus(t, filepath.Join(peers, "server.c"))} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			noFault(t, r)
			near, far := peer.Cable(t)
			peer.Start(t, append(server, "rtu", far)...)
			r.Start(linkPath, serialline.Kind, &modbusv1.SerialLine{Port: near, Parity: "none"})
			pollAndWrite(t, r)
			if name == "pymodbus" {
				identify(t, r)
			}
		})
	}
}

// pollAndWrite checks a foreign device against what its registers should hold.
func pollAndWrite(t *testing.T, r *actorstest.Rig) {
	t.Helper()
	data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
	cfg := config()
	cfg.Every, cfg.Timeout = ms(100), ms(500)
	cfg.Points[4].Address = 6 // a coil that is on
	r.Start(unitPath, modbusunit.Kind, cfg)
	s := eventually(t, data, good)
	truth(t, s)
	if !sampleOf(s, "relay").GetFlag() || !sampleOf(s, "mode").GetFlag() {
		t.Errorf("bits are off: %v", s)
	}
	if _, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(10), Values: []uint32{4711, 4712}}, &modbusv1.WriteRegistersResponse{}); err != nil {
		t.Error(err)
	}
	if _, err := call(r, "WritePoint", &modbusv1.WritePointRequest{Point: "mode", Value: &modbusv1.WritePointRequest_Flag{Flag: false}}, &modbusv1.WritePointResponse{}); err != nil {
		t.Error(err)
	}
	if _, err := call(r, "WriteCoils", &modbusv1.WriteCoilsRequest{Address: proto.Uint32(6), Values: []bool{false}}, &modbusv1.WriteCoilsResponse{}); err != nil {
		t.Error(err)
	}
	eventually(t, data, func(s *samplev1.Samples) bool {
		return good(s) && sampleOf(s, "power").GetNumber() == 471.1 && !sampleOf(s, "mode").GetFlag() && !sampleOf(s, "relay").GetFlag()
	})
	_, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 5000}, &modbusv1.ReadRegistersResponse{})
	if want := "failed_precondition: unit 7: exception 2: illegal data address"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// identify reads the identification of pymodbus, which takes three transactions.
func identify(t *testing.T, r *actorstest.Rig) {
	t.Helper()
	id, err := call(r, "ReadIdentification", &modbusv1.ReadIdentificationRequest{Category: "extended"}, &modbusv1.ReadIdentificationResponse{})
	if err != nil || len(id.Objects) != 9 || id.Objects[0].Value != "Acme" || id.Objects[8].Value != strings.Repeat("c", 100) {
		t.Errorf("%v %v", id, err)
	}
	loop, err := call(r, "Diagnose", &modbusv1.DiagnoseRequest{Values: []uint32{0xa537}}, &modbusv1.DiagnoseResponse{})
	if err != nil || len(loop.Values) != 1 || loop.Values[0] != 0xa537 {
		t.Errorf("%v %v", loop, err)
	}
}
