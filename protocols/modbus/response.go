package modbus

import (
	"encoding/binary"
	"fmt"
)

// Response is the answer of a unit. It is a value: its Data must not be modified.
type Response struct {
	// Data is the data read: registers, big-endian (functions 3, 4, 23, 24), or packed bits, the
	// first in the lowest bit (functions 1, 2). Function 7: the eight exception status coils; 8:
	// the bytes after the sub-function; 11: status and counter; 12 (ParseEvents), 17 and 20
	// (ParseFiles): the bytes after the byte count; 43 (ParseIdentification) and functions unknown
	// to this package: the bytes after the function code. Empty for functions that only write.
	Data []byte
}

// answerOf parses an answer PDU that want accepts. An error is the unit's exception. The Data
// refers to pdu.
func answerOf(r Request, pdu []byte) (Response, error) {
	if pdu[0]&0x80 != 0 {
		return Response{}, &Exception{Function: r.Function, Code: pdu[1]}
	}
	switch r.form() {
	case formSingle, formMany:
		return Response{}, nil
	case formBits, formRegisters, formReadWrite:
		return Response{Data: pdu[2:]}, nil
	case formSub:
		return Response{Data: pdu[3:]}, nil
	case formFIFO:
		return Response{Data: pdu[5:]}, nil
	case formFiles, formBare:
		switch r.Function {
		case WriteFileRecord:
			return Response{}, nil
		case ReadFileRecord, ReadEventLog, ReportServerID:
			return Response{Data: pdu[2:]}, nil
		}
	}
	return Response{Data: pdu[1:]}, nil
}

// Register returns the i-th register read. It panics if i is out of range.
func (r Response) Register(i int) uint16 { return binary.BigEndian.Uint16(r.Data[2*i:]) }

// Bit returns the i-th coil or discrete input read. It panics if i is out of range.
func (r Response) Bit(i int) bool { return r.Data[i/8]>>(i%8)&1 == 1 }

// Exception is a unit's refusal of a request (Application Protocol V1.1b3 §7). It shows that the
// unit is alive and the link works.
type Exception struct {
	Function uint8 // the function refused
	Code     uint8 // the reason: one of the exception codes of this package
}

// Exception codes. Code 7 is legacy, code 9 was never defined.
const (
	IllegalFunction     uint8 = 1
	IllegalAddress      uint8 = 2
	IllegalValue        uint8 = 3
	DeviceFailure       uint8 = 4
	Acknowledge         uint8 = 5
	DeviceBusy          uint8 = 6
	NegativeAcknowledge uint8 = 7
	MemoryParityError   uint8 = 8
	GatewayPath         uint8 = 10
	GatewayTarget       uint8 = 11
)

func (e *Exception) Error() string {
	return fmt.Sprintf("exception %d: %s", e.Code, ExceptionName(e.Code))
}

// ExceptionName describes an exception code.
func ExceptionName(code uint8) string {
	switch code {
	case IllegalFunction:
		return "illegal function"
	case IllegalAddress:
		return "illegal data address"
	case IllegalValue:
		return "illegal data value"
	case DeviceFailure:
		return "server device failure"
	case Acknowledge:
		return "acknowledged, still working on it"
	case DeviceBusy:
		return "server device busy"
	case NegativeAcknowledge:
		return "negative acknowledge"
	case MemoryParityError:
		return "memory parity error"
	case GatewayPath:
		return "gateway path unavailable"
	case GatewayTarget:
		return "gateway target device failed to respond"
	}
	return "not defined by the specification"
}
