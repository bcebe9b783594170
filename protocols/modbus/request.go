// Package modbus implements Modbus RTU, ASCII, TCP, RTU over TCP and ASCII over TCP: the requests
// of a client as plain values, a Link that carries one request at a time over a connection or port
// opened by the caller, a Pipe that carries many over one Modbus TCP connection, and the framing
// that a server needs. It does not open, reopen, poll or retry, and does not interpret values: see
// package serial for ports and package points for values.
package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Request is one transaction of a client. It is a value: its Data must not be modified.
type Request struct {
	Unit     uint8  // 1..247 on a serial line, where 0 is broadcast; 0..255 on Modbus TCP
	Function uint8  // 1..127; a function code unknown to this package is sent as it is
	Address  uint16 // first coil or register, counted from 0 as on the wire; function 24: address of the queue
	// Quantity is the number of coils or registers; 0 or 1 for functions 5, 6 and 22; 0 for functions without a
	// quantity
	Quantity uint16
	// Data is the data to write. Function 5: FF 00 (on) or 00 00 (off); 6: the register; 15: packed
	// bits, the first in the lowest bit; 16 and 23: the registers, big-endian; 22: AND mask, OR
	// mask. Function 8: sub-function and data (Diagnose); 20 and 21: the sub-requests (ReadFiles,
	// WriteFiles); 43: MEI type and the bytes after it (Identify). Functions unknown to this
	// package: all bytes after the function code. Empty for the others.
	Data         []byte
	WriteAddress uint16 // function 23: first register to write; Address and Quantity are the registers to read
	// Timeout is how long the unit may take to begin its answer, counted from the end of the
	// request on the wire; 0 = the link's timeout.
	Timeout time.Duration
}

// Write reports whether the request changes something in the unit, or may change something, which
// is assumed for functions that the specification does not define. Such a request must never be
// repeated blindly.
func (r Request) Write() bool {
	switch r.form() {
	case formSingle, formMany, formReadWrite, formRaw:
		return true
	case formFiles:
		return r.Function == WriteFileRecord
	case formSub:
		return changes(subFunction(r.Data))
	}
	return false
}

// String returns the beginning of an error message, for instance "unit 7: read holding registers
// 0+10".
func (r Request) String() string {
	name := fmt.Sprintf("unit %d: %s", r.Unit, FunctionName(r.Function))
	switch r.form() {
	case formSingle, formFIFO:
		return fmt.Sprintf("%s %d", name, r.Address)
	case formReadWrite:
		return fmt.Sprintf("%s %d+%d, %d+%d", name, r.Address, r.Quantity, r.WriteAddress, len(r.Data)/2)
	case formSub:
		return fmt.Sprintf("%s %d", name, subFunction(r.Data))
	case formIdentity:
		return fmt.Sprintf("unit %d: read device identification", r.Unit)
	case formBare, formFiles, formRaw:
		return name
	}
	return fmt.Sprintf("%s %d+%d", name, r.Address, r.Quantity)
}

// Check returns why the request cannot be sent with this framing. A request that passes is within
// the limits of the specification. Broadcasts (unit 0) exist on all framings but TCP, and only for
// functions that write and read nothing.
func (r Request) Check(f Framing) error {
	if err := r.checkShape(); err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	if f.ascii() && r.form() == formSub && subFunction(r.Data) == ChangeDelimiter {
		return fmt.Errorf("%s: frames on this line end with LF; a changed delimiter would make the unit unreachable", r)
	}
	if f != TCP && r.Unit == 0 && !r.broadcastable() {
		return fmt.Errorf("%s: %w", r, ErrBroadcast)
	}
	return nil
}

func (r Request) broadcastable() bool {
	f := r.form()
	return f == formSingle || f == formMany || r.Function == WriteFileRecord
}

func (r Request) checkShape() error {
	if r.Function < 1 || r.Function > 127 {
		return fmt.Errorf("function %d is not within 1..127", r.Function)
	}
	switch f := r.form(); f {
	case formRaw, formBare, formSub, formFiles, formIdentity:
		if r.Address != 0 || r.Quantity != 0 || r.WriteAddress != 0 {
			return errors.New("this function has neither address nor quantity")
		}
		return r.checkData(f)
	case formFIFO:
		if r.Quantity != 0 || len(r.Data) > 0 {
			return errors.New("this function has an address, but neither quantity nor data")
		}
		return nil
	}
	return r.checkTable()
}

func (r Request) checkData(f form) error {
	switch f {
	case formBare:
		if len(r.Data) > 0 {
			return fmt.Errorf("%d bytes of data where 0 are needed", len(r.Data))
		}
	case formSub:
		return checkDiagnostics(r.Data)
	case formFiles:
		return checkFiles(r)
	case formIdentity:
		return checkIdentify(r.Data)
	}
	if len(r.Data) > 252 {
		return fmt.Errorf("%d bytes of data are more than a frame holds, 252", len(r.Data))
	}
	return nil
}

// checkTable checks requests for coils and registers.
func (r Request) checkTable() error {
	most, size := limits(r)
	q := int(r.Quantity)
	if r.form() == formSingle {
		q = max(q, 1)
	}
	if q < 1 || q > most {
		return fmt.Errorf("quantity %d is not within 1..%d", q, most)
	}
	if int(r.Address)+q > 1<<16 {
		return fmt.Errorf("%d+%d ends beyond address 65535", r.Address, q)
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
		return fmt.Errorf("%d+%d ends beyond address 65535", r.WriteAddress, n/2)
	}
	return nil
}

// limits returns the largest quantity and the required length of Data of a request for coils or
// registers.
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
