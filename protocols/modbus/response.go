package modbus

import (
	"encoding/binary"
	"fmt"
)

// Response is what a unit answered. It is a value: whoever gets one must not change its Data.
type Response struct {
	// Data holds what was read: registers big-endian (functions 3, 4, 23, 24) or packed bits, the first in the lowest bit (functions 1, 2).
	// Function 7: the eight exception status coils; 8: what follows the sub-function; 11: status and counter; 12 (ParseEvents), 17 and 20
	// (ParseFiles): what follows the byte count; 43 (ParseIdentification) and functions this package does not know: what follows the function
	// code. It is empty for the functions that only write.
	Data []byte
}

// answerOf takes apart an answer PDU that wants accepts: an error is the unit's refusal. The Data is a part of pdu.
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

// Register is the i-th register read; it panics like an index when there are fewer.
func (r Response) Register(i int) uint16 { return binary.BigEndian.Uint16(r.Data[2*i:]) }

// Bit is the i-th coil or discrete input read; it panics like an index when there are fewer.
func (r Response) Bit(i int) bool { return r.Data[i/8]>>(i%8)&1 == 1 }

// Exception is a unit's refusal of a request (Application Protocol V1.1b3 §7): the unit is alive and the link works.
type Exception struct {
	Function uint8 // the function refused
	Code     uint8 // why: one of the exception codes of this package
}

// Exception codes; 7 is legacy, 9 was never defined.
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

// ExceptionName says what an exception code means.
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
