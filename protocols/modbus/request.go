// Package modbus speaks Modbus RTU, ASCII, TCP, RTU over TCP and ASCII over TCP: the requests of a client as plain values, a Link that
// carries one of them at a time over a connection or port somebody else opened, and the framing a server needs. PDUs are built and
// checked by github.com/grid-x/modbus; framing, timing and the matching of answers to requests are ours. It does not open, reopen,
// poll, retry or interpret values: see the packages serial and points for the port and the values.
package modbus

import (
	"encoding/binary"
	"fmt"
	"time"
)

// Function codes of the Modbus Application Protocol V1.1b3, §6.
const (
	ReadCoils                  uint8 = 1
	ReadDiscreteInputs         uint8 = 2
	ReadHoldingRegisters       uint8 = 3
	ReadInputRegisters         uint8 = 4
	WriteSingleCoil            uint8 = 5
	WriteSingleRegister        uint8 = 6
	WriteMultipleCoils         uint8 = 15
	WriteMultipleRegisters     uint8 = 16
	MaskWriteRegister          uint8 = 22
	ReadWriteMultipleRegisters uint8 = 23
)

// Request is one transaction a client asks for. It is a value: whoever gets one must not change its Data.
type Request struct {
	Unit     uint8  // 1..247 on a serial line, 0 = broadcast there; 0..255 on Modbus TCP
	Function uint8  // one of the function codes of this package
	Address  uint16 // first coil or register, counted from 0 as on the wire
	Quantity uint16 // coils or registers; 0 or 1 for the functions 5, 6 and 22
	// Data is what is written. Function 5: FF 00 (on) or 00 00 (off); 6: the register; 15: packed bits, the first in the lowest bit;
	// 16 and 23: the registers, big-endian; 22: AND mask, OR mask. Empty for the functions 1 to 4.
	Data         []byte
	WriteAddress uint16 // function 23: first register written; what is read is Address and Quantity
	// Timeout is how long the unit may take until its answer begins, counted from the end of the request on the wire; 0 = the link's.
	Timeout time.Duration
}

// Write says whether the request changes something in the unit. Such a request must never be repeated blindly.
func (r Request) Write() bool {
	switch r.Function {
	case WriteSingleCoil, WriteSingleRegister, WriteMultipleCoils, WriteMultipleRegisters, MaskWriteRegister, ReadWriteMultipleRegisters:
		return true
	}
	return false
}

// String is the beginning of an error message: "unit 7: read holding registers 0+10".
func (r Request) String() string {
	switch r.Function {
	case WriteSingleCoil, WriteSingleRegister, MaskWriteRegister:
		return fmt.Sprintf("unit %d: %s %d", r.Unit, functionName(r.Function), r.Address)
	case ReadWriteMultipleRegisters:
		return fmt.Sprintf("unit %d: %s %d+%d, %d+%d", r.Unit, functionName(r.Function), r.Address, r.Quantity, r.WriteAddress, len(r.Data)/2)
	}
	return fmt.Sprintf("unit %d: %s %d+%d", r.Unit, functionName(r.Function), r.Address, r.Quantity)
}

// Check says why the request cannot be sent with this framing; a request that passes is within the limits of the specification.
// Broadcast (unit 0) exists on serial framings only and only for functions that read nothing.
func (r Request) Check(f Framing) error {
	if err := r.checkShape(); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	if f != TCP && r.Unit == 0 && (!r.Write() || r.Function == ReadWriteMultipleRegisters) {
		return fmt.Errorf("%s: a broadcast (unit 0) is never answered, so nothing can be read by it", r)
	}
	return nil
}

func (r Request) checkShape() error {
	most, size := limits(r)
	if most == 0 {
		return fmt.Errorf("function %d is not one of 1-6, 15, 16, 22, 23", r.Function)
	}
	q := int(r.Quantity)
	if single(r.Function) {
		q = max(q, 1)
	}
	if q < 1 || q > most {
		return fmt.Errorf("quantity %d is not within 1..%d", q, most)
	}
	if int(r.Address)+q > 1<<16 {
		return fmt.Errorf("%d+%d goes beyond address 65535", r.Address, q)
	}
	if r.Function == ReadWriteMultipleRegisters {
		return r.checkReadWrite()
	}
	if len(r.Data) != size {
		return fmt.Errorf("%d bytes of data where %d are needed", len(r.Data), size)
	}
	if r.Function == WriteSingleCoil {
		if v := binary.BigEndian.Uint16(r.Data); v != 0 && v != 0xff00 {
			return fmt.Errorf("coil value %#04x is neither 0xff00 (on) nor 0x0000 (off)", v)
		}
	}
	return nil
}

func (r Request) checkReadWrite() error {
	n := len(r.Data)
	if n%2 != 0 || n < 2 || n > 2*121 {
		return fmt.Errorf("%d bytes to write are not 1..121 registers", n)
	}
	if int(r.WriteAddress)+n/2 > 1<<16 {
		return fmt.Errorf("%d+%d goes beyond address 65535", r.WriteAddress, n/2)
	}
	return nil
}

// limits gives the largest quantity (0: unknown function) and the bytes of Data the request must have.
func limits(r Request) (most, size int) {
	switch r.Function {
	case ReadCoils, ReadDiscreteInputs:
		return 2000, 0
	case ReadHoldingRegisters, ReadInputRegisters, ReadWriteMultipleRegisters:
		return 125, 0
	case WriteSingleCoil, WriteSingleRegister:
		return 1, 2
	case WriteMultipleCoils:
		return 1968, (int(r.Quantity) + 7) / 8
	case WriteMultipleRegisters:
		return 123, 2 * int(r.Quantity)
	case MaskWriteRegister:
		return 1, 4
	}
	return 0, 0
}

func single(function uint8) bool {
	return function == WriteSingleCoil || function == WriteSingleRegister || function == MaskWriteRegister
}

func functionName(function uint8) string {
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
	case WriteMultipleCoils:
		return "write coils"
	case WriteMultipleRegisters:
		return "write registers"
	case MaskWriteRegister:
		return "mask write register"
	case ReadWriteMultipleRegisters:
		return "read/write registers"
	}
	return fmt.Sprintf("function %d", function)
}
