package wire

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Air tells for a serial line how long a request and its answer are on the wire
// at char per character, with the silence around them.
func Air(char time.Duration, framing modbus.Framing) func(r modbus.Request) time.Duration {
	return func(r modbus.Request) time.Duration {
		out, in := sizes(r)
		if framing == modbus.ASCII {
			out, in = 2*out+1, 2*in+1
		}
		return time.Duration(out+in+7) * char // 3.5 characters of silence before each
	}
}

// sizes are the bytes of the RTU frames (Application Protocol V1.1b3 §6): unit,
// function and checksum are four.
func sizes(r modbus.Request) (out, in int) {
	q := int(r.Quantity)
	switch r.Function {
	case modbus.ReadCoils, modbus.ReadDiscreteInputs:
		return 8, 5 + (q+7)/8
	case modbus.ReadHoldingRegisters, modbus.ReadInputRegisters:
		return 8, 5 + 2*q
	case modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters:
		return 9 + len(r.Data), 8
	case modbus.MaskWriteRegister:
		return 10, 10
	case modbus.ReadWriteMultipleRegisters:
		return 13 + len(r.Data), 5 + 2*q
	}
	return 8, 8
}
