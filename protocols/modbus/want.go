package modbus

import (
	"bytes"
	"encoding/binary"
)

// want is what the answer to a request must look like.
type want struct {
	unit, function uint8
	size           int    // PDU bytes of the normal answer; where it tells its own size, the least it can have
	open           bool   // the answer tells its own size
	raw            bool   // nothing tells it: the function is not the specification's
	mute           bool   // there is none: only a refusal would come
	echo           []byte // the PDU after the function code
	data           []byte // of the request, where the answer is compared with it
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

// bareSize is the size of the answer to a function without a request of its own.
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

// writeEcho is what follows the function code in the answer to a function that only writes.
func writeEcho(r Request) []byte {
	echo := binary.BigEndian.AppendUint16(make([]byte, 0, 6), r.Address)
	if r.form() == formSingle {
		return append(echo, r.Data...)
	}
	return binary.BigEndian.AppendUint16(echo, r.Quantity)
}

// counted says whether the byte after the function code counts those that follow.
func (w want) counted() bool {
	switch w.function {
	case Diagnostics, ReadExceptionStatus, ReadEventCounter, ReadFIFOQueue, EncapsulatedInterface:
		return false
	}
	return w.echo == nil && !w.raw
}

// accepts judges a frame's bytes from the unit to the end of the PDU: is it this request's answer or its refusal?
func (w want) accepts(body []byte) bool {
	if len(body) < 2 || body[0] != w.unit {
		return false
	}
	if body[1] == w.function|0x80 {
		return len(body) == 3 && body[2] != 0
	}
	return body[1] == w.function && w.fits(body[1:])
}

// fits says whether a PDU of the function is this request's answer.
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

// begins says whether b, from the unit on, can be the beginning of the normal answer.
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

// expect is how many bytes the PDU has of the answer that begins b, from the unit on, as far as can be told: sure says whether it has no
// more.
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

// answerSize is the size an answer PDU must have by its own function and counts: whole says that it has no more bytes than n; 0: cannot be
// told.
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

// fifoSize: a queue has 31 registers at most (V1.1b3 §6.18).
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

// within gives up a size that no PDU has.
func within(n int, whole bool) (int, bool) {
	if n > 253 {
		return 0, false
	}
	return n, whole
}
