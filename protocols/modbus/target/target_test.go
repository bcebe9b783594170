package target_test

import (
	"strings"
	"testing"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/target"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]target.Target{
		"tcp://10.0.0.5/7":            {Unit: 7, Framing: modbus.TCP, Transport: "tcp", Address: "10.0.0.5:502"},
		"tcp://[fe80::1]:1502/255":    {Unit: 255, Framing: modbus.TCP, Transport: "tcp", Address: "[fe80::1]:1502"},
		"udp://plc.example/1":         {Unit: 1, Framing: modbus.TCP, Transport: "udp", Address: "plc.example:502"},
		"rtu+tcp://10.0.0.5:4001/7":   {Unit: 7, Framing: modbus.RTUOverTCP, Transport: "tcp", Address: "10.0.0.5:4001"},
		"ascii+tcp://10.0.0.5:4001/7": {Unit: 7, Framing: modbus.ASCIIOverTCP, Transport: "tcp", Address: "10.0.0.5:4001"},
		"rtu+udp://10.0.0.5:4001/7":   {Unit: 7, Framing: modbus.RTUOverTCP, Transport: "udp", Address: "10.0.0.5:4001"},
	} {
		if got, err := target.Parse(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	got, err := target.Parse("rtu:///dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0/7?baud=9600&parity=none")
	if s := got.Serial; err != nil || s.Path != "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0" || s.Baud != 9600 || s.Parity != "none" || s.StopBits != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = target.Parse("tls://plc.example/1?cert=a&key=b&ca=c")
	if f := got.Files; err != nil || f.Certificate != "a" || f.Key != "b" || f.CA != "c" || f.Name != "plc.example" || got.Address != "plc.example:802" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"http://10.0.0.5/7":            "unknown scheme: want one of tcp, tls",
		"tcp://10.0.0.5":               "must end with /UNIT",
		"tcp://10.0.0.5/":              "must end with /UNIT",
		"tcp://10.0.0.5/256":           "must end with /UNIT",
		"tcp:///7":                     "the host is missing",
		"tcp://10.0.0.5/a/7":           `"/a" between host and unit`,
		"tcp://10.0.0.5:0/7":           `port "0"`,
		"tcp://10.0.0.5:x/7":           "invalid port",
		"rtu+tcp://10.0.0.5/7":         "name the port",
		"tcp://10.0.0.5/7?baud=9600":   `tcp:// has no parameter "baud"`,
		"tcp://me@10.0.0.5/7":          "a user and",
		"rtu://dev/ttyUSB0/7":          "three slashes",
		"rtu:///dev/ttyUSB0/248":       "1 to 247",
		"rtu:///dev/ttyUSB0/7?baud=x":  "baud=x is not a number",
		"rtu:///dev/ttyUSB0/7?baud=1":  "baud 1 is not within",
		"rtu:///dev/ttyUSB0/7?speed=9": `has no parameter "speed"; it has baud, parity`,
		"tls://plc.example/1":          "?cert=FILE",
	} {
		if got, err := target.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %+v, %v; want %s", text, got, err, want)
		}
	}
}

// Any text is a target that can be opened, or is refused.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"tcp://10.0.0.5/7", "rtu:///dev/ttyUSB0/7?baud=9600&parity=even", "tls://h/1?cert=a&key=b&ca=c", "ascii+tcp://[::1]:4001/0", "tcp://", "rtu:///7", "x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := target.Parse(text)
		if err != nil {
			return
		}
		if got.Transport == "serial" != (got.Serial.Path != "") || got.Transport != "serial" && !strings.Contains(got.Address, ":") {
			t.Errorf("%q is %+v", text, got)
		}
	})
}
