package modbus

import (
	"bytes"
	"encoding/binary"
)

// want is what the answer to a request must look like.
type want struct {
	unit, function uint8
	size           int    // PDU bytes of the normal answer
	echo           []byte // functions that only write: the PDU after the function code
}

func wantOf(r Request) want {
	w := want{unit: r.Unit, function: r.Function}
	q := int(r.Quantity)
	switch r.Function {
	case ReadCoils, ReadDiscreteInputs:
		w.size = 2 + (q+7)/8
	case ReadHoldingRegisters, ReadInputRegisters, ReadWriteMultipleRegisters:
		w.size = 2 + 2*q
	default:
		w.echo = writeEcho(r)
		w.size = 1 + len(w.echo)
	}
	return w
}

// writeEcho is what follows the function code in the answer to a function that only writes.
func writeEcho(r Request) []byte {
	echo := binary.BigEndian.AppendUint16(make([]byte, 0, 6), r.Address)
	if single(r.Function) {
		return append(echo, r.Data...)
	}
	return binary.BigEndian.AppendUint16(echo, r.Quantity)
}

// accepts judges a frame's bytes from the unit to the end of the PDU: is it this request's answer or its refusal?
func (w want) accepts(body []byte) bool {
	if len(body) < 3 || body[0] != w.unit {
		return false
	}
	if body[1] == w.function|0x80 {
		return len(body) == 3 && body[2] != 0
	}
	if body[1] != w.function || len(body) != 1+w.size {
		return false
	}
	if w.echo != nil {
		return bytes.Equal(body[2:], w.echo)
	}
	return int(body[2]) == w.size-2
}

// begins says whether b, from the unit on, can be the beginning of the normal answer.
func (w want) begins(b []byte) bool {
	if len(b) < 2 || b[0] != w.unit || b[1] != w.function {
		return false
	}
	return w.echo != nil || len(b) < 3 || int(b[2]) == w.size-2
}
