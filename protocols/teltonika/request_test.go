package teltonika_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/teltonika"
)

func TestRequests(t *testing.T) {
	for line, want := range map[string]teltonika.Request{
		"0 16468394968118163995 0 10.0.0.126 5020 5 1 1 1 5": {Cookie: "16468394968118163995", Target: teltonika.Target{Host: "10.0.0.126", Port: 5020}, Timeout: 5 * time.Second,
			Modbus: modbus.Request{Unit: 1, Function: 1, Quantity: 5}},
		"0 9958479625634 0 10.0.0.126 5020 5 1 4 1 3": {Cookie: "9958479625634", Target: teltonika.Target{Host: "10.0.0.126", Port: 5020}, Timeout: 5 * time.Second,
			Modbus: modbus.Request{Unit: 1, Function: 4, Quantity: 3}},
		"1 42 rs485 1 2 3 101 4": {Cookie: "42", Target: teltonika.Target{Device: "rs485"}, Timeout: time.Second,
			Modbus: modbus.Request{Unit: 2, Function: 3, Address: 100, Quantity: 4}},
		"\t1  18446744073709551615 a 999\r\n255 16 65535 2 0,65535\n": {Cookie: "18446744073709551615", Target: teltonika.Target{Device: "a"}, Timeout: 999 * time.Second,
			Modbus: modbus.Request{Unit: 255, Function: 16, Address: 65534, Quantity: 2, Data: []byte{0, 0, 0xff, 0xff}}},
		"0 007 1 2001:DB8:0:0:0:0:0:1 502 1 1 15 1 9 1,0,0,0,0,0,0,0,1": {Cookie: "007", Target: teltonika.Target{Host: "2001:db8::1", Port: 502}, Timeout: time.Second,
			Modbus: modbus.Request{Unit: 1, Function: 15, Quantity: 9, Data: []byte{1, 1}}},
		"0 0 2 PLC-1.site 502 1 1 5 1 1":     {Cookie: "0", Target: teltonika.Target{Host: "plc-1.site", Port: 502}, Timeout: time.Second, Modbus: modbus.Request{Unit: 1, Function: 5, Quantity: 1, Data: []byte{0xff, 0}}},
		"0 0 2 10.0.0.1 502 1 1 5 1 0":       {Cookie: "0", Target: teltonika.Target{Host: "10.0.0.1", Port: 502}, Timeout: time.Second, Modbus: modbus.Request{Unit: 1, Function: 5, Quantity: 1, Data: []byte{0, 0}}},
		"0 0 0 10.0.0.1 502 1 1 6 65536 300": {Cookie: "0", Target: teltonika.Target{Host: "10.0.0.1", Port: 502}, Timeout: time.Second, Modbus: modbus.Request{Unit: 1, Function: 6, Address: 65535, Quantity: 1, Data: []byte{1, 44}}},
	} {
		got, err := teltonika.Parse([]byte(line))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %+v, %v, want %+v", line, got, err, want)
		}
		if err := got.Modbus.Check(modbus.TCP); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// An invalid request is answered with its cookie, or with 0 if there is none.
func TestInvalidRequests(t *testing.T) {
	full := func(n int, v string) string { return strings.TrimSuffix(strings.Repeat(v+",", n), ",") }
	for _, line := range []string{
		"", " ", "0", "x", "0 x", "0 -1", "0 18446744073709551616 0 10.0.0.1 502 1 1 3 1 1", "0 +5 0 10.0.0.1 502 1 1 3 1 1", "0 000000000000000000005",
	} {
		if q, err := teltonika.Parse([]byte(line)); err == nil || string(q.Error(err.Error())) != "0 ERROR: INVALID REQUEST" {
			t.Errorf("%q: %+v, %v", line, q, err)
		}
	}
	for _, line := range []string{
		"0 7", "2 7 0 10.0.0.1 502 1 1 3 1 1", "00 7 0 10.0.0.1 502 1 1 3 1 1",
		"0 7 0 10.0.0.1 502 1 1 3 1", "0 7 0 10.0.0.1 502 1 1 3 1 1 1 1", "0 7 0 10.0.0.1 502 1 1 3 1 1 1",
		"0 7 3 10.0.0.1 502 1 1 3 1 1", "0 7 0 plc 502 1 1 3 1 1", "0 7 0 ::1 502 1 1 3 1 1", "0 7 1 10.0.0.1 502 1 1 3 1 1", "0 7 1 fe80::1%eth0 502 1 1 3 1 1",
		"0 7 2 pl/c 502 1 1 3 1 1", "0 7 2 " + strings.Repeat("a", 64) + " 502 1 1 3 1 1", "0 7 0 10.0.0.256 502 1 1 3 1 1",
		"0 7 0 10.0.0.1 0 1 1 3 1 1", "0 7 0 10.0.0.1 65536 1 1 3 1 1", "0 7 0 10.0.0.1 502 0 1 3 1 1", "0 7 0 10.0.0.1 502 1000 1 3 1 1", "0 7 0 10.0.0.1 502 70000 1 3 1 1",
		"0 7 0 10.0.0.1 502 1 0 3 1 1", "0 7 0 10.0.0.1 502 1 256 3 1 1", "0 7 0 10.0.0.1 502 1 257 3 1 1", "0 7 0 10.0.0.1 502 1 -1 3 1 1",
		"0 7 0 10.0.0.1 502 1 1 0 1 1", "0 7 0 10.0.0.1 502 1 1 7 1 1", "0 7 0 10.0.0.1 502 1 1 14 1 1", "0 7 0 10.0.0.1 502 1 1 22 1 1", "0 7 0 10.0.0.1 502 1 1 259 1 1",
		"0 7 0 10.0.0.1 502 1 1 3 0 1", "0 7 0 10.0.0.1 502 1 1 3 65537 1", "0 7 0 10.0.0.1 502 1 1 3 65536 2", "0 7 0 10.0.0.1 502 1 1 3 65413 125",
		"0 7 0 10.0.0.1 502 1 1 3 1 0", "0 7 0 10.0.0.1 502 1 1 3 1 126", "0 7 0 10.0.0.1 502 1 1 1 1 126", "0 7 0 10.0.0.1 502 1 1 1 1 2000",
		"0 7 0 10.0.0.1 502 1 1 5 1 2", "0 7 0 10.0.0.1 502 1 1 5 1 1 1", "0 7 0 10.0.0.1 502 1 1 6 1 65536", "0 7 0 10.0.0.1 502 1 1 6 1 1 1", "0 7 0 10.0.0.1 502 1 1 6 1 -1",
		"0 7 0 10.0.0.1 502 1 1 16 1 3 1234,5678", "0 7 0 10.0.0.1 502 1 1 16 1 1", "0 7 0 10.0.0.1 502 1 1 16 1 1 1,", "0 7 0 10.0.0.1 502 1 1 16 1 1 65536",
		"0 7 0 10.0.0.1 502 1 1 16 1 2 1, 2", "0 7 0 10.0.0.1 502 1 1 16 1 2 1,,2", "0 7 0 10.0.0.1 502 1 1 15 1 2 0,2", "0 7 0 10.0.0.1 502 1 1 15 1 124 " + full(124, "1"),
		"0 7 0 10.0.0.1 502 1 1 16 1 0 0", "0 7 0 10.0.0.1 502 1 1 16 65536 2 1,2", "0 7 0 10.0.0.1 502 1 1 0x3 1 1", "0 7 0 10.0.0.1 502 1 1 3.0 1 1",
		"1 7 rs485 1 2 3 101", "1 7 rs485:9600 1 2 3 101 4", "1 7 " + strings.Repeat("a", 64) + " 1 2 3 101 4", "1 7 rs485 1 2 3 101 4 5", "1 7 rs485 1 2 16 101 2 1",
		"0 7 0 10.0.0.1 502 1 1 3 1 1\x00", "0 7 0 10.0.0.1 502 1 1 3 1 1" + strings.Repeat(" ", 3000),
	} {
		if q, err := teltonika.Parse([]byte(line)); err == nil || string(q.Error(err.Error())) != "7 ERROR: INVALID REQUEST" {
			t.Errorf("%q: %+v, %v", line, q, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	for line, x := range map[string]struct {
		data []byte
		want string
	}{
		"0 16468394968118163995 0 10.0.0.126 5020 5 1 1 1 5": {[]byte{0x1f}, "16468394968118163995 OK 1 1 1 1 1"},
		"0 9958479625634 0 10.0.0.126 5020 5 1 4 1 3":        {[]byte{4, 210, 22, 46, 35, 141}, "9958479625634 OK 1234 5678 9101"},
		"1 42 rs485 1 2 3 101 4":                             {[]byte{0, 7, 0, 8, 0, 9, 255, 255}, "42 OK 7 8 9 65535"},
		"1 42 rs485 1 2 2 1 9":                               {[]byte{0x01, 0x01}, "42 OK 1 0 0 0 0 0 0 0 1"},
		"1 42 rs485 1 2 16 1 2 1,2":                          {nil, "42 OK"},
		"1 42 rs485 1 2 5 1 1":                               {nil, "42 OK"},
	} {
		q, err := teltonika.Parse([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(q.OK(x.data)); got != x.want {
			t.Errorf("%q: %q, want %q", line, got, x.want)
		}
	}
	q, err := teltonika.Parse([]byte("0 565842596387 0 10.0.0.126 5020 5 1 16 1 3 1234,5678"))
	if got := string(q.Error(err.Error())); got != "565842596387 ERROR: INVALID REQUEST" {
		t.Error(got)
	}
	for code, want := range map[uint8]string{1: "Illegal function", 2: "Illegal data address", 4: "Slave device or server failure", 6: "Slave device or server is busy",
		11: "Target device failed to respond", 9: "Invalid exception code", 0: "Invalid exception code", 99: "Invalid exception code"} {
		if got := teltonika.Exception(code); got != want {
			t.Errorf("%d: %q", code, got)
		}
	}
}

func TestTargets(t *testing.T) {
	for address, line := range map[string]string{
		"10.0.0.1:502": "0 7 0 10.0.0.1 502", "[2001:db8::1]:502": "0 7 1 2001:0db8:0000:0000:0000:0000:0000:0001 502", "PLC.site:1": "0 7 2 plc.SITE 1",
		"10.0.0.1:503": "0 7 1 ::ffff:10.0.0.1 503", "192.0.2.7:502": "0 7 2 192.0.2.7 502",
	} {
		want, ok := teltonika.ParseTarget(address)
		q, err := teltonika.Parse([]byte(line + " 1 1 3 1 1"))
		if !ok || err != nil || q.Target != want {
			t.Errorf("%s: %+v, %v; %s: %+v, %v", address, want, ok, line, q.Target, err)
		}
	}
	for _, address := range []string{"", "plc", ":502", "plc:0", "plc:x", "plc:65536", "a b:1", "[fe80::1%eth0]:502"} {
		if got, ok := teltonika.ParseTarget(address); ok {
			t.Errorf("%q is %+v", address, got)
		}
	}
}

// Any input is answered with one line, and a line that is accepted as a request is parsed exactly.
func FuzzParse(f *testing.F) {
	for _, line := range []string{
		"0 16468394968118163995 0 10.0.0.126 5020 5 1 1 1 5", "0 565842596387 0 10.0.0.126 5020 5 1 16 1 3 1234,5678", "1 42 rs485 1 2 3 101 4",
		"1 1 a 1 1 15 65529 8 1,0,1,0,1,0,1,1", "0 7 1 ::1 502 999 255 6 65536 65535", "0 7 2 plc 1 1 1 5 1 1", "\x00\xff", "0 99999999999999999999",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := teltonika.Parse(line)
		if _, bad := strconv.ParseUint(q.Cookie, 10, 64); bad != nil {
			t.Fatalf("cookie %q", q.Cookie)
		}
		if err != nil {
			if bytes.ContainsAny(q.Error(err.Error()), "\r\n\x00") {
				t.Fatalf("%q", q.Error(err.Error()))
			}
			return
		}
		m := q.Modbus
		if err := m.Check(modbus.TCP); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		text := fmt.Sprintf("0 %s 2 %s %d", q.Cookie, q.Target.Host, q.Target.Port)
		if strings.Contains(q.Target.Host, ":") {
			text = fmt.Sprintf("0 %s 1 %s %d", q.Cookie, q.Target.Host, q.Target.Port)
		}
		if q.Target.Device != "" {
			text = fmt.Sprintf("1 %s %s", q.Cookie, q.Target.Device)
		}
		text += fmt.Sprintf(" %d %d %d %d", q.Timeout/time.Second, m.Unit, m.Function, int(m.Address)+1)
		switch m.Function {
		case 5:
			text += fmt.Sprintf(" %d", m.Data[0]&1)
		case 6:
			text += fmt.Sprintf(" %d", int(m.Data[0])<<8|int(m.Data[1]))
		default:
			text += fmt.Sprintf(" %d", m.Quantity)
		}
		for i := range int(m.Quantity) {
			sep := map[bool]string{true: " ", false: ","}[i == 0]
			switch m.Function {
			case 15:
				text += fmt.Sprintf("%s%d", sep, m.Data[i/8]>>(i%8)&1)
			case 16:
				text += fmt.Sprintf("%s%d", sep, int(m.Data[2*i])<<8|int(m.Data[2*i+1]))
			}
		}
		again, err := teltonika.Parse([]byte(text))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(q) {
			t.Fatalf("%q is %+v, written again as %q it is %+v, %v", line, q, text, again, err)
		}
		if out := q.OK(make([]byte, 2*125)); !bytes.HasPrefix(out, []byte(q.Cookie+" OK")) {
			t.Fatalf("%q", out)
		}
	})
}
