package tcplink_test

import (
	"slices"
	"testing"

	"gatewayd/actors/tcplink"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Two links to the same host and port are reported, once for each place, however many links there
// are.
func TestLinksToOnePlace(t *testing.T) {
	tls := &modbusv1.LinkTls{CertFile: "a", KeyFile: "b", CaFile: "c"}
	var all []schemas.Actor
	for _, x := range []struct {
		path string
		cfg  *modbusv1.TcpLink
	}{
		{"a", &modbusv1.TcpLink{Address: "PLC.example"}}, {"b", &modbusv1.TcpLink{Address: "plc.example:503"}},
		{"c", &modbusv1.TcpLink{Address: "plc.example:502", Transport: "udp"}}, {"d", &modbusv1.TcpLink{Address: "plc.example", Tls: tls}},
		{"e", &modbusv1.TcpLink{Address: "plc.example:502"}}, {"f", &modbusv1.TcpLink{Address: "plc.example"}},
		{"g", &modbusv1.TcpLink{Address: "[fd00::5]"}}, {"h", &modbusv1.TcpLink{Address: "[fd00::5]:502", Framing: "rtu"}},
		{"i", &modbusv1.TcpLink{Address: "plc.example:802"}},
		{"j", &modbusv1.TcpLink{Address: "[::1]:0502"}}, {"k", &modbusv1.TcpLink{Address: "[0:0:0:0:0:0:0:1]"}},
		{"l", &modbusv1.TcpLink{Address: "10.0.0.5:0503"}}, {"m", &modbusv1.TcpLink{Address: "[::ffff:10.0.0.5]:503"}},
		{"n", &modbusv1.TcpLink{Address: "rtu.example."}}, {"o", &modbusv1.TcpLink{Address: "RTU.example:502"}},
	} {
		schemas.Defaults(x.cfg)
		all = append(all, schemas.Actor{Path: x.path, Config: x.cfg})
	}
	var got []string
	for _, f := range tcplink.Kind.Beside(all) {
		if !f.Warning || f.Field != "address" || f.Other != "address" {
			t.Errorf("%+v", f)
		}
		got = append(got, f.Actor+" beside "+f.Beside+": "+f.Message)
	}
	const why = ": one link can serve all its units, and many devices accept a single connection only"
	want := []string{
		`e beside a: "a" leads to plc.example:502 as well` + why,
		`h beside g: "g" leads to [fd00::5]:502 as well` + why,
		`i beside d: "d" leads to plc.example:802 as well` + why,
		`k beside j: "j" leads to [0:0:0:0:0:0:0:1]:502 as well` + why,
		`m beside l: "l" leads to [::ffff:10.0.0.5]:503 as well` + why,
		`o beside n: "n" leads to RTU.example:502 as well` + why,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
