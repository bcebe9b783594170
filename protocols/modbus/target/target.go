// Package target parses the URL by which users name a Modbus unit, and opens a connection to it,
// for tools that send a few requests and exit. It does not keep connections alive and does not
// retry.
//
//	tcp://10.0.0.5/7                           Modbus TCP, port 502, unit 7
//	tls://plc.example/1?cert=…&key=…&ca=…     Modbus/TCP Security, port 802; name= is the device's name in its certificate
//	udp://10.0.0.5:502/7                       Modbus TCP frames in datagrams
//	rtu+tcp://10.0.0.5:4001/7                  RTU frames, as used by serial device servers; also ascii+tcp, rtu+udp
//	rtu:///dev/ttyUSB0/7?baud=9600&parity=even  a serial port; also ascii; data-bits= and stop-bits= if they are unusual
package target

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
	"gatewayd/protocols/serial"
)

// Target is a unit and how to reach it.
type Target struct {
	Unit      uint8
	Framing   modbus.Framing
	Transport string        // tcp, tls, udp or serial
	Address   string        // host:port; empty for a serial port
	Serial    serial.Config // for a serial port
	Files     dial.Files    // for tls
}

// form is the meaning of a scheme.
type form struct {
	transport string
	framing   modbus.Framing
	port      string // default port; empty: the address must include one
	keys      []string
}

var (
	serialKeys = []string{"baud", "parity", "data-bits", "stop-bits"}
	forms      = map[string]form{
		"tcp":       {"tcp", modbus.TCP, "502", nil},
		"tls":       {"tls", modbus.TCP, "802", []string{"cert", "key", "ca", "name"}},
		"udp":       {"udp", modbus.TCP, "502", nil},
		"rtu+tcp":   {"tcp", modbus.RTUOverTCP, "", nil},
		"ascii+tcp": {"tcp", modbus.ASCIIOverTCP, "", nil},
		"rtu+udp":   {"udp", modbus.RTUOverTCP, "", nil},
		"rtu":       {"serial", modbus.RTU, "", serialKeys},
		"ascii":     {"serial", modbus.ASCII, "", serialKeys},
	}
)

// schemes lists the keys of forms, for display.
const schemes = "tcp, tls, udp, rtu+tcp, ascii+tcp, rtu+udp, rtu (serial), ascii (serial)"

// Is reports whether text is meant to be a target: it has a scheme.
func Is(text string) bool { return strings.Contains(text, "://") }

// Parse parses a target. Its errors are meant for the user who typed it.
func Parse(text string) (Target, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", text, errors.Unwrap(err))
	}
	f, ok := forms[u.Scheme]
	if !ok {
		return Target{}, fmt.Errorf("%q: unknown scheme: want one of %s", text, schemes)
	}
	t := Target{Framing: f.framing, Transport: f.transport}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", text, err)
	}
	for key := range query {
		if !slices.Contains(f.keys, key) {
			return Target{}, fmt.Errorf("%q: %s:// has no parameter %q%s", text, u.Scheme, key, known(f.keys))
		}
	}
	if u.User != nil || u.Fragment != "" {
		return Target{}, fmt.Errorf("%q: a user and a fragment (#) are not supported", text)
	}
	slash := strings.LastIndex(u.Path, "/")
	unit, err := strconv.ParseUint(u.Path[slash+1:], 10, 8)
	if slash < 0 || err != nil {
		return Target{}, fmt.Errorf("%q: it must end with /UNIT, the unit address from 0 to 255, before any ?", text)
	}
	t.Unit = uint8(unit)
	if t.Transport == "serial" {
		err = t.line(u, u.Path[:slash], query)
	} else {
		err = t.host(u, u.Path[:slash], f, query)
	}
	if err != nil {
		return Target{}, fmt.Errorf("%q: %w", text, err)
	}
	return t, nil
}

func known(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return "; it has " + strings.Join(keys, ", ")
}

// host parses the parts of a target reached over IP.
func (t *Target) host(u *url.URL, rest string, f form, query url.Values) error {
	port := u.Port()
	switch {
	case u.Hostname() == "":
		return errors.New("the host is missing")
	case rest != "":
		return fmt.Errorf("%q between host and unit is not allowed", rest)
	case port == "" && f.port == "":
		return fmt.Errorf("name the port, like %s://%s:4001/%d", u.Scheme, u.Hostname(), t.Unit)
	case port == "":
		port = f.port
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q is not within 1 to 65535", port)
	}
	t.Address = net.JoinHostPort(u.Hostname(), port)
	if t.Transport != "tls" {
		return nil
	}
	t.Files = dial.Files{Certificate: query.Get("cert"), Key: query.Get("key"), CA: query.Get("ca"), Name: query.Get("name")}
	if t.Files.Certificate == "" || t.Files.Key == "" || t.Files.CA == "" {
		return errors.New("Modbus/TCP Security needs certificates: add ?cert=FILE&key=FILE&ca=FILE")
	}
	if t.Files.Name == "" {
		t.Files.Name = u.Hostname()
	}
	return nil
}

// line parses the parts of a serial port.
func (t *Target) line(u *url.URL, path string, query url.Values) error {
	if u.Host != "" || path == "" {
		return fmt.Errorf("a serial port is written with three slashes, like %s:///dev/ttyUSB0/7?baud=9600", u.Scheme)
	}
	t.Serial = serial.Config{Path: path, Baud: 19200, Parity: "even"}
	if p := query.Get("parity"); p != "" {
		t.Serial.Parity = p
	}
	for key, field := range map[string]*int{"baud": &t.Serial.Baud, "data-bits": &t.Serial.DataBits, "stop-bits": &t.Serial.StopBits} {
		text := query.Get(key)
		if text == "" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return fmt.Errorf("%s=%s is not a number", key, text)
		}
		*field = int(n)
	}
	if t.Serial.StopBits == 0 {
		t.Serial.StopBits = 1
		if t.Serial.Parity == "none" {
			t.Serial.StopBits = 2
		}
	}
	if t.Unit > 247 {
		return fmt.Errorf("unit %d is out of range: a serial line has units 1 to 247, and 0 for a broadcast", t.Unit)
	}
	return t.Serial.Check()
}

// String describes the target for messages.
func (t Target) String() string {
	where := t.Address
	if t.Transport == "serial" {
		where = t.Serial.Path
	}
	return fmt.Sprintf("unit %d at %s", t.Unit, where)
}
