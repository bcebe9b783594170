package modbus

import (
	"bytes"
	"encoding/binary"
)

// want describes the answer expected for a request.
type want struct {
	unit, function uint8
	size           int    // PDU bytes of the normal answer; the minimum if the answer has a variable size
	open           bool   // the answer states its own size
	raw            bool   // nothing states the size: the specification does not define the function
	mute           bool   // no answer is due; only an exception could be received
	echo           []byte // the PDU after the function code
	data           []byte // data of the request that the answer is compared with
}

func wantOf(r Request) want {
	w := want{unit: r.Unit, function: r.Function}
	q := int(r.Quantity)
	switch f := r.form(); f {
	case formBits:
		w.size = 2 + (q+7)/8
	case formRegisters, formReadWrite:
		w.size = 2 + 2*q
	case formSingle, formMany:
		w.echo = writeEcho(r)
	case formBare:
		w.size, w.open = bareSize(r.Function)
	case formSub:
		w.data, w.size, w.mute = r.Data, 5, subFunction(r.Data) == ForceListenOnly
		if !counts(subFunction(r.Data)) {
			w.echo = r.Data
		}
	case formFiles:
		w.data, w.size = r.Data, filesSize(r)
		if r.Function == WriteFileRecord {
			w.echo = append([]byte{byte(len(r.Data))}, r.Data...)
		}
	case formFIFO:
		w.size, w.open = 5, true
	case formIdentity:
		w.data, w.size, w.open = r.Data, 7, true
	case formRaw:
		w.size, w.open, w.raw = 1, true, true
	}
	if w.echo != nil {
		w.size = 1 + len(w.echo)
	}
	return w
}

// bareSize returns the size of the answer to a function whose request has no data.
func bareSize(function uint8) (n int, open bool) {
	switch function {
	case ReadExceptionStatus:
		return 2, false
	case ReadEventCounter:
		return 5, false
	case ReadEventLog:
		return 8, true
	}
	return 2, true
}

// writeEcho returns the bytes after the function code in the answer to a function that only writes.
func writeEcho(r Request) []byte {
	echo := binary.BigEndian.AppendUint16(make([]byte, 0, 6), r.Address)
	if r.form() == formSingle {
		return append(echo, r.Data...)
	}
	return binary.BigEndian.AppendUint16(echo, r.Quantity)
}

// counted reports whether the byte after the function code is the number of bytes that follow.
func (w want) counted() bool {
	switch w.function {
	case Diagnostics, ReadExceptionStatus, ReadEventCounter, ReadFIFOQueue, EncapsulatedInterface:
		return false
	}
	return w.echo == nil && !w.raw
}

// accepts reports whether body, a frame from the unit to the end of the PDU, is the answer to this
// request or its exception.
func (w want) accepts(body []byte) bool {
	if len(body) < 2 || body[0] != w.unit {
		return false
	}
	if body[1] == w.function|0x80 {
		return len(body) == 3 && body[2] != 0
	}
	return body[1] == w.function && w.fits(body[1:])
}

// fits reports whether a PDU of the function is the answer to this request.
func (w want) fits(pdu []byte) bool {
	switch {
	case w.raw:
		return true
	case w.echo != nil:
		return bytes.Equal(pdu[1:], w.echo)
	case w.open:
		if n, whole := answerSize(pdu); !whole || n != len(pdu) {
			return false
		}
	case len(pdu) != w.size:
		return false
	}
	switch w.function {
	case Diagnostics:
		return bytes.Equal(pdu[1:3], w.data[:2])
	case ReadFileRecord:
		return int(pdu[1]) == w.size-2 && answersFiles(w.data, pdu)
	case EncapsulatedInterface:
		return identifies(w.data, pdu)
	}
	return w.open || !w.counted() || int(pdu[1]) == w.size-2
}

// begins reports whether b, from the unit on, can be the beginning of the normal answer.
func (w want) begins(b []byte) bool {
	if len(b) < 2 || b[0] != w.unit || b[1] != w.function {
		return false
	}
	switch {
	case w.echo != nil, w.raw, len(b) < 3:
		return true
	case w.function == Diagnostics:
		return b[2] == w.data[0] && (len(b) < 4 || b[3] == w.data[1])
	case w.function == EncapsulatedInterface:
		return b[2] == w.data[0] && (len(b) < 4 || b[3] == w.data[1])
	case w.open:
		n, _ := answerSize(b[1:])
		return n > 0
	}
	return !w.counted() || int(b[2]) == w.size-2
}

// expect returns the number of bytes in the PDU of the answer at the start of b, from the unit on,
// as far as it is known. sure reports whether that is the exact number.
func (w want) expect(b []byte) (n int, sure bool) {
	switch {
	case !w.open:
		return w.size, true
	case w.raw || !w.begins(b):
		return w.size, false
	}
	n, sure = answerSize(b[1:])
	return max(n, w.size), sure
}

// answerSize returns the size that an answer PDU must have according to its own function and
// counts. whole reports whether n is exact; otherwise it is a minimum, and 0 means unknown.
func answerSize(pdu []byte) (n int, whole bool) {
	if len(pdu) < 1 {
		return 0, false
	}
	switch fn := pdu[0]; fn {
	case ReadExceptionStatus:
		return 2, true
	case WriteSingleCoil, WriteSingleRegister, WriteMultipleCoils, WriteMultipleRegisters, Diagnostics, ReadEventCounter:
		return 5, true
	case MaskWriteRegister:
		return 7, true
	case EncapsulatedInterface:
		if len(pdu) > 1 && pdu[1] != deviceIdentification {
			return 0, false
		}
		return within(identificationSize(pdu))
	case ReadFIFOQueue:
		return fifoSize(pdu)
	case ReadCoils, ReadDiscreteInputs, ReadHoldingRegisters, ReadInputRegisters, ReadWriteMultipleRegisters,
		ReadEventLog, ReportServerID, ReadFileRecord, WriteFileRecord:
		return countedSize(pdu)
	default:
		if fn&0x80 != 0 {
			return 2, true
		}
	}
	return 0, false
}

func countedSize(pdu []byte) (n int, whole bool) {
	if len(pdu) < 2 {
		return 2, false
	}
	least, most := 0, 250
	switch pdu[0] {
	case ReadEventLog:
		least, most = 6, 6+64
	case ReportServerID, WriteFileRecord:
		most = 251
	}
	if c := int(pdu[1]); c < least || c > most {
		return 0, false
	}
	return 2 + int(pdu[1]), true
}

// fifoSize is the answerSize of function 24. A queue has at most 31 registers (V1.1b3 §6.18).
func fifoSize(pdu []byte) (n int, whole bool) {
	if len(pdu) < 3 {
		return 5, false
	}
	c := int(word(pdu[1:], 0))
	if c < 2 || c > 2+2*31 || c%2 != 0 || len(pdu) >= 5 && 2+2*int(word(pdu[1:], 1)) != c {
		return 0, false
	}
	return 3 + c, len(pdu) >= 5
}

// within rejects a size that exceeds that of any PDU.
func within(n int, whole bool) (int, bool) {
	if n > 253 {
		return 0, false
	}
	return n, whole
}
