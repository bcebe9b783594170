package modbus

import (
	"encoding/binary"
	"fmt"
)

// ParseRequest reads a request PDU (function code and what follows, 1..253 bytes). An error is an *Exception with the code a server must
// answer: illegal function, or illegal data value for a wrong length or quantity; the Request then still holds unit and function.
// The Request's Data is a copy. Addresses beyond 65535 are the *Exception illegal data address (V1.1b3 §6, state diagrams).
func ParseRequest(unit uint8, pdu []byte) (Request, error) {
	if len(pdu) == 0 {
		return Request{Unit: unit}, &Exception{Code: IllegalFunction}
	}
	r := Request{Unit: unit, Function: pdu[0]}
	if most, _ := limits(r); most == 0 {
		return r, &Exception{r.Function, IllegalFunction}
	}
	if !r.parse(pdu[1:]) {
		return r, &Exception{r.Function, IllegalValue}
	}
	if err := r.checkShape(); err != nil {
		if r.beyond() {
			return r, &Exception{r.Function, IllegalAddress}
		}
		return r, &Exception{r.Function, IllegalValue}
	}
	return r, nil
}

func (r *Request) parse(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	r.Address, r.Quantity = word(b, 0), word(b, 1)
	switch {
	case r.Function <= ReadInputRegisters:
		return len(b) == 4
	case single(r.Function):
		r.Quantity = 1
		r.Data = append([]byte(nil), b[2:]...)
		return true // the length is Check's
	case r.Function == ReadWriteMultipleRegisters:
		if len(b) < 9 || int(b[8]) != len(b)-9 || 2*int(word(b, 3)) != len(b)-9 {
			return false
		}
		r.WriteAddress = word(b, 2)
		r.Data = append([]byte(nil), b[9:]...)
		return true
	}
	if len(b) < 5 || int(b[4]) != len(b)-5 {
		return false
	}
	r.Data = append([]byte(nil), b[5:]...)
	return true
}

// beyond says whether the only fault of a request within all quantities is that it runs over address 65535.
func (r Request) beyond() bool {
	most, size := limits(r)
	q := int(r.Quantity)
	if q < 1 || q > most {
		return false
	}
	if r.Function == ReadWriteMultipleRegisters {
		n := len(r.Data)
		return n%2 == 0 && n >= 2 && n <= 2*121
	}
	return len(r.Data) == size && int(r.Address)+q > 1<<16
}

// AppendResponse appends the PDU that answers r. It fails when Data has not the length the request asks for.
func AppendResponse(dst []byte, r Request, answer Response) ([]byte, error) {
	w := wantOf(r)
	dst = append(dst, r.Function)
	if w.echo != nil {
		return append(dst, w.echo...), nil
	}
	if len(answer.Data) != w.size-2 {
		return dst, fmt.Errorf("%s: answer of %d bytes where %d are asked for", r, len(answer.Data), w.size-2)
	}
	return append(append(dst, byte(w.size-2)), answer.Data...), nil
}

// AppendException appends the PDU that refuses a request of the function.
func AppendException(dst []byte, function, code uint8) []byte {
	return append(dst, function|0x80, code)
}

// AppendRequest appends the PDU of a request that passed Check.
func AppendRequest(dst []byte, r Request) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, r.Function), r.Address)
	switch {
	case single(r.Function):
		return append(dst, r.Data...)
	case r.Function == ReadWriteMultipleRegisters:
		dst = binary.BigEndian.AppendUint16(dst, r.Quantity)
		dst = binary.BigEndian.AppendUint16(dst, r.WriteAddress)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Data)/2))
		return append(append(dst, byte(len(r.Data))), r.Data...)
	}
	dst = binary.BigEndian.AppendUint16(dst, r.Quantity)
	if r.Write() {
		dst = append(append(dst, byte(len(r.Data))), r.Data...)
	}
	return dst
}
