package tcplink_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// pymodbus serves a meter as unit 7 in one of the modes of testdata/server.py until the test ends,
// and returns its address.
func pymodbus(t *testing.T, way string) string {
	t.Helper()
	port := freeport.Port(t)
	const interpreter = "/usr/bin/python3"
	if text, err := exec.Command(interpreter, "-c", "import pymodbus, serial").CombinedOutput(); err != nil {
		t.Fatalf("pymodbus is missing: apt-get install -y python3-pymodbus python3-serial\n%s", text)
	}
	c := exec.Command(interpreter, "../../protocols/modbus/testdata/server.py", way, port)
	said := &strings.Builder{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("pymodbus said:\n%s", said)
		}
	})
	return "127.0.0.1:" + port
}

// scanned returns the units that a scan of the link finds.
func scanned(t *testing.T, r *actorstest.Rig, units ...uint32) (found []*modbusv1.FoundUnit, err error) {
	t.Helper()
	m := &modbusv1.ScanRequest{Units: units, Wait: durationpb.New(time.Second)}
	err = r.Bus.Stream(t.Context(), bus.Subject(actorstest.Gateway, bus.Cmd, "plc", "Scan"), m, func(m bus.Msg) error {
		one := &modbusv1.ScanResponse{}
		err := m.Decode(one)
		if one.Found != nil {
			found = append(found, one.Found)
		}
		return err
	})
	return found, err
}

// A third-party device is found among unused addresses, with every framing. This costs no
// connection except the last one where a late answer can be recognised only by its unit address. A
// unit polled meanwhile goes on and is never mistaken for another one.
func TestAScanOfEveryFraming(t *testing.T) {
	for _, x := range []struct {
		way    string
		cfg    *modbusv1.TcpLink
		opened uint64
	}{
		{"tcp", &modbusv1.TcpLink{}, 1},
		{"rtu-tcp", &modbusv1.TcpLink{Framing: "rtu"}, 2},
		{"ascii-tcp", &modbusv1.TcpLink{Framing: "ascii"}, 2},
		{"udp", &modbusv1.TcpLink{Transport: "udp"}, 1},
		{"rtu-udp", &modbusv1.TcpLink{Transport: "udp", Framing: "rtu"}, 1},
	} {
		t.Run(x.way, func(t *testing.T) {
			r := actorstest.New(t)
			data := actorstest.Watch(r, "data/#", &samplev1.Samples{})
			x.cfg.Address, x.cfg.MaxBackoff = pymodbus(t, x.way), durationpb.New(200*time.Millisecond)
			r.Start("plc", tcplink.Kind, x.cfg)
			r.Start("meter", modbusunit.Kind, &modbusv1.Unit{
				Link: "plc", Unit: 7, Every: durationpb.New(200 * time.Millisecond), Timeout: durationpb.New(5 * time.Second),
				MaxBackoff: durationpb.New(200 * time.Millisecond), Points: []*modbusv1.Point{{Name: "x", Address: 5}},
			})
			good := func(s *samplev1.Samples) bool { return s.Samples[0].Quality == "" && s.Samples[0].GetNumber() == 5 }
			actorstest.NextWhere(t, data, good) // the unit has started
			before := opened(t, r)
			found, err := scanned(t, r, 6, 7, 8)
			if err != nil || len(found) != 1 || found[0].Unit != 7 || len(found[0].Objects) < 3 || found[0].Objects[0].Value != "Acme" {
				t.Errorf("%v, %v", found, err)
			}
			all, late := len(data), 0
			for range all {
				s := <-data
				if s.Samples[0].GetNumber() != 5 || s.Samples[0].Cause != "" && s.Samples[0].Cause != "timeout" {
					t.Errorf("a poll meanwhile: %v", s)
				}
				if !good(s) { // on an overloaded machine answers are late
					late++
				}
			}
			if late > all/2 {
				t.Errorf("of %d polls meanwhile %d had no answer in time", all, late)
			}
			actorstest.NextWhere(t, data, good)
			if n := opened(t, r) - before + 1; n != x.opened {
				t.Errorf("%d connections, want %d", n, x.opened)
			}
		})
	}
}

func opened(t *testing.T, r *actorstest.Rig) uint64 {
	t.Helper()
	s, err := actorstest.Call(r, "plc", "Statistics", &modbusv1.StatisticsRequest{}, &modbusv1.StatisticsResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Opened
}
