package modbus

import "fmt"

// Function codes of the Modbus Application Protocol V1.1b3, §6. The headings of 7, 8, 11, 12 and 17
// say "serial line only", but no rule forbids them elsewhere and gateways forward them, so they may
// be sent with every framing.
const (
	ReadCoils                  uint8 = 1
	ReadDiscreteInputs         uint8 = 2
	ReadHoldingRegisters       uint8 = 3
	ReadInputRegisters         uint8 = 4
	WriteSingleCoil            uint8 = 5
	WriteSingleRegister        uint8 = 6
	ReadExceptionStatus        uint8 = 7
	Diagnostics                uint8 = 8
	ReadEventCounter           uint8 = 11
	ReadEventLog               uint8 = 12
	WriteMultipleCoils         uint8 = 15
	WriteMultipleRegisters     uint8 = 16
	ReportServerID             uint8 = 17
	ReadFileRecord             uint8 = 20
	WriteFileRecord            uint8 = 21
	MaskWriteRegister          uint8 = 22
	ReadWriteMultipleRegisters uint8 = 23
	ReadFIFOQueue              uint8 = 24
	EncapsulatedInterface      uint8 = 43
)

// FunctionName describes a function in words.
func FunctionName(function uint8) string {
	switch function {
	case ReadCoils:
		return "read coils"
	case ReadDiscreteInputs:
		return "read discrete inputs"
	case ReadHoldingRegisters:
		return "read holding registers"
	case ReadInputRegisters:
		return "read input registers"
	case WriteSingleCoil:
		return "write coil"
	case WriteSingleRegister:
		return "write register"
	case ReadExceptionStatus:
		return "read exception status"
	case Diagnostics:
		return "diagnostics"
	case ReadEventCounter:
		return "read event counter"
	case ReadEventLog:
		return "read event log"
	case WriteMultipleCoils:
		return "write coils"
	case WriteMultipleRegisters:
		return "write registers"
	case ReportServerID:
		return "report server id"
	case ReadFileRecord:
		return "read file records"
	case WriteFileRecord:
		return "write file records"
	case MaskWriteRegister:
		return "mask write register"
	case ReadWriteMultipleRegisters:
		return "read/write registers"
	case ReadFIFOQueue:
		return "read fifo queue"
	case EncapsulatedInterface:
		return "encapsulated interface"
	}
	return fmt.Sprintf("function %d", function)
}

// form is the layout of a function's request.
type form uint8

const (
	formRaw       form = iota // anything: a function that the specification does not define
	formBits                  // address, quantity of bits
	formRegisters             // address, quantity of registers
	formSingle                // address and the value to write there
	formMany                  // address, quantity, values to write
	formReadWrite             // function 23
	formBare                  // no data
	formSub                   // sub-function and its data: function 8
	formFiles                 // sub-requests: functions 20 and 21
	formFIFO                  // address
	formIdentity              // function 43 with MEI type 14
)

func (r Request) form() form {
	switch r.Function {
	case ReadCoils, ReadDiscreteInputs:
		return formBits
	case ReadHoldingRegisters, ReadInputRegisters:
		return formRegisters
	case WriteSingleCoil, WriteSingleRegister, MaskWriteRegister:
		return formSingle
	case WriteMultipleCoils, WriteMultipleRegisters:
		return formMany
	case ReadWriteMultipleRegisters:
		return formReadWrite
	case ReadExceptionStatus, ReadEventCounter, ReadEventLog, ReportServerID:
		return formBare
	case Diagnostics:
		return formSub
	case ReadFileRecord, WriteFileRecord:
		return formFiles
	case ReadFIFOQueue:
		return formFIFO
	case EncapsulatedInterface:
		if len(r.Data) > 0 && r.Data[0] == deviceIdentification {
			return formIdentity
		}
	}
	return formRaw
}
