// Package teltonika reads and writes the text protocol in which controllers talk to the MQTT Modbus
// gateway of Teltonika routers and to open-modbusgateway: one line is a request, one line the
// response, and a cookie links the two. It is stricter than both: a number out of range is refused,
// never wrapped. It does not carry out requests.
package teltonika

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
)

// maxLine is twice the length of the longest request, function 16 with 123 values.
const maxLine = 2048

// ErrInvalid is the error for every line that is no request.
var ErrInvalid = errors.New(Invalid)

// Request is one line from a controller.
type Request struct {
	Cookie  string // as received: decimal, 0 to 2^64-1
	Target  Target
	Timeout time.Duration  // for the connection and for the response, 1 to 999 s
	Modbus  modbus.Request // with the address counted from 0
}

// Target is the destination of a request. It is comparable.
type Target struct {
	Device string // name of a serial gateway; for format 1
	Host   string // an address in its shortest form or a name in lower case; for format 0
	Port   uint16
}

// ParseTarget parses an address, host:port.
func ParseTarget(address string) (Target, bool) {
	i := strings.LastIndexByte(address, ':')
	if i < 0 {
		return Target{}, false
	}
	host := strings.TrimSuffix(strings.TrimPrefix(address[:i], "["), "]")
	port, ok := number(address[i+1:], 1, 65535)
	if ip, err := netip.ParseAddr(host); err == nil {
		return Target{Host: ip.Unmap().String(), Port: uint16(port)}, ok && ip.Zone() == ""
	}
	return Target{Host: strings.ToLower(host), Port: uint16(port)}, ok && hostname(host)
}

// Parse parses one line. If it returns an error, which is ErrInvalid, the request has the cookie
// for the response: "0" if it could not be read.
func Parse(line []byte) (Request, error) {
	q := Request{Cookie: "0"}
	f := fields(line)
	if len(f) < 2 {
		return q, ErrInvalid
	}
	if _, err := strconv.ParseUint(f[1], 10, 64); err != nil || !digits(f[1]) || len(f[1]) > 20 {
		return q, ErrInvalid
	}
	q.Cookie = f[1]
	var rest []string
	ok := false
	switch {
	case f[0] == "0" && len(f) >= 10:
		ok, rest = q.Target.parse(f[2], f[3], f[4]), f[5:]
	case f[0] == "1" && len(f) >= 8:
		q.Target.Device, rest = f[2], f[3:]
		ok = len(f[2]) <= 63 && !strings.ContainsRune(f[2], ':')
	}
	if !ok || len(rest) > 6 || !q.parse(rest) || len(line) > maxLine {
		return Request{Cookie: q.Cookie}, ErrInvalid
	}
	return q, nil
}

// fields splits at white space as defined in C.
func fields(line []byte) []string {
	return strings.FieldsFunc(string(line), func(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' })
}

// parse parses <IP_TYPE> <IP> <PORT>.
func (t *Target) parse(kind, host, port string) bool {
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() != "":
		return false
	case kind == "0" && err == nil && ip.Is4(), kind == "1" && err == nil && ip.Is6():
		t.Host = ip.Unmap().String()
	case kind == "2" && hostname(host):
		t.Host = strings.ToLower(host)
		if err == nil {
			t.Host = ip.Unmap().String()
		}
	default:
		return false
	}
	n, ok := number(port, 1, 65535)
	t.Port = uint16(n)
	return ok
}

// hostname reports whether s is a valid host name (RFC 1123); underscores, which are in common use,
// are allowed too.
func hostname(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[0] == '.' {
		return false
	}
	for _, r := range []byte(s) {
		if r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') {
			return false
		}
	}
	return true
}

// parse parses <TIMEOUT> <SLAVE_ID> <MODBUS_FUNCTION> <REGISTER_NUMBER> <REGISTER_COUNT/VALUE>[
// <DATA>].
func (q *Request) parse(f []string) bool {
	var n [5]int
	for i, most := range [5]int{999, 255, 16, 65536, 65535} {
		least := 1
		if i == 4 {
			least = 0
		}
		var ok bool
		if n[i], ok = number(f[i], least, most); !ok {
			return false
		}
	}
	q.Timeout = time.Duration(n[0]) * time.Second
	q.Modbus = modbus.Request{Unit: uint8(n[1]), Function: uint8(n[2]), Address: uint16(n[3] - 1), Quantity: 1}
	data := ""
	if len(f) == 6 {
		data = f[5]
	}
	return q.arguments(n[3], n[4], data)
}

// arguments interprets the count or value and the data according to the function.
func (q *Request) arguments(first, n int, data string) bool {
	m, most := &q.Modbus, 0
	switch m.Function {
	case modbus.WriteSingleCoil:
		m.Data = []byte{byte(0xff * n & 0xff), 0}
		return n <= 1 && data == ""
	case modbus.WriteSingleRegister:
		m.Data = binary.BigEndian.AppendUint16(nil, uint16(n))
		return data == ""
	case modbus.ReadCoils, modbus.ReadDiscreteInputs, modbus.ReadHoldingRegisters, modbus.ReadInputRegisters:
		most = 125
	case modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters:
		most = 123
	}
	m.Quantity = uint16(n)
	if n < 1 || n > most || first+n > 65537 {
		return false
	}
	if !m.Write() {
		return data == ""
	}
	return q.values(n, strings.Split(data, ","))
}

func (q *Request) values(n int, list []string) bool {
	m, most := &q.Modbus, 65535
	if m.Function == modbus.WriteMultipleCoils {
		most, m.Data = 1, make([]byte, (n+7)/8)
	}
	if len(list) != n {
		return false
	}
	for i, s := range list {
		v, ok := number(s, 0, most)
		switch {
		case !ok:
			return false
		case most == 1:
			m.Data[i/8] |= byte(v) << (i % 8)
		default:
			m.Data = binary.BigEndian.AppendUint16(m.Data, uint16(v))
		}
	}
	return true
}

// number parses a decimal number within bounds. Leading zeros are allowed, signs are not.
func number(s string, least, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil && digits(s) && int(n) >= least && int(n) <= most
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
