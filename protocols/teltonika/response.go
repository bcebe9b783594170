package teltonika

import (
	"encoding/binary"
	"strconv"

	"gatewayd/protocols/modbus"
)

// Texts of error responses. Where Teltonika and open-modbusgateway differ, those of the latter. The
// others are texts of libmodbus and of the C library, which are passed through.
const (
	Invalid  = "INVALID REQUEST"
	Blocked  = "MESSAGE BLOCKED"
	TooMany  = "Too many requests"
	Unknown  = "UNKNOWN"
	TimedOut = "Connection timed out"
	Refused  = "Connection refused"
	NoRoute  = "No route to host"
	BadCRC   = "Invalid CRC"
	BadData  = "Invalid data"
	NoPath   = "Gateway path unavailable"
	Lost     = "Connection reset by peer"

	badCode = "Invalid exception code"
)

var exceptions = [...]string{
	1: "Illegal function", 2: "Illegal data address", 3: "Illegal data value", 4: "Slave device or server failure", 5: "Acknowledge",
	6: "Slave device or server is busy", 7: "Negative acknowledge", 8: "Memory parity error", 10: NoPath, 11: "Target device failed to respond",
}

// Exception returns the text for a Modbus exception.
func Exception(code uint8) string {
	if int(code) < len(exceptions) && exceptions[code] != "" {
		return exceptions[code]
	}
	return badCode
}

// OK returns the response to a request that was carried out; data is the bits or registers read.
func (q Request) OK(data []byte) []byte {
	b := append(make([]byte, 0, len(q.Cookie)+3+6*int(q.Modbus.Quantity)), q.Cookie...)
	b = append(b, " OK"...)
	if q.Modbus.Write() {
		return b
	}
	for i := range int(q.Modbus.Quantity) {
		var v uint64
		switch q.Modbus.Function {
		case modbus.ReadCoils, modbus.ReadDiscreteInputs:
			v = uint64(data[i/8] >> (i % 8) & 1)
		default:
			v = uint64(binary.BigEndian.Uint16(data[2*i:]))
		}
		b = strconv.AppendUint(append(b, ' '), v, 10)
	}
	return b
}

// Error returns the response to a request that was not carried out.
func (q Request) Error(text string) []byte {
	return []byte(q.Cookie + " ERROR: " + text)
}
