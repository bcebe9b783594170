package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ParseRequest parses a request PDU (function code and data, 1..253 bytes). Its error is an
// *Exception with the code a server must answer: illegal function; illegal data value for a wrong
// length or quantity; illegal data address for addresses beyond 65535 (V1.1b3 §6, state diagrams).
// The Request then still contains unit and function. The Request's Data is a copy.
func ParseRequest(unit uint8, pdu []byte) (Request, error) {
	if len(pdu) == 0 {
		return Request{Unit: unit}, &Exception{Code: IllegalFunction}
	}
	r, ok := parse(Request{Unit: unit, Function: pdu[0]}, pdu[1:])
	switch {
	case r.form() == formRaw, r.form() == formSub && !counts(subFunction(r.Data)) && !changes(subFunction(r.Data)) && subFunction(r.Data) != ReturnQueryData && len(r.Data) >= 2:
		return r, &Exception{r.Function, IllegalFunction}
	case !ok:
		return r, &Exception{r.Function, IllegalValue}
	}
	if err := r.checkShape(); err != nil {
		var where errAddress
		if r.beyond() || errors.As(err, &where) {
			return r, &Exception{r.Function, IllegalAddress}
		}
		return r, &Exception{r.Function, IllegalValue}
	}
	return r, nil
}

// Transaction returns the request of any function with the bytes after the function code. A
// function of the specification must be well-formed.
func Transaction(function uint8, data []byte) (Request, error) {
	r, ok := parse(Request{Function: function}, data)
	if !ok {
		return r, fmt.Errorf("%s: malformed request % x", FunctionName(function), data)
	}
	if r.form() == formRaw {
		r.Data = append([]byte(nil), data...)
	}
	if err := r.checkShape(); err != nil {
		return r, fmt.Errorf("%s: %w", FunctionName(function), err)
	}
	return r, nil
}

// parse parses the bytes after the function code. What it does not check is left to Check.
func parse(r Request, b []byte) (Request, bool) {
	if r.Function == EncapsulatedInterface {
		r.Data = append([]byte(nil), b...) // its first byte determines the form
	}
	switch r.form() {
	case formRaw, formIdentity:
		return r, true
	case formBare:
		return r, len(b) == 0
	case formSub:
		r.Data = append([]byte(nil), b...)
		return r, true
	case formFiles:
		if len(b) < 1 || int(b[0]) != len(b)-1 {
			return r, false
		}
		r.Data = append([]byte(nil), b[1:]...)
		return r, true
	case formFIFO:
		if len(b) != 2 {
			return r, false
		}
		r.Address = word(b, 0)
		return r, true
	}
	return r, r.parseTable(b)
}

func (r *Request) parseTable(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	r.Address, r.Quantity = word(b, 0), word(b, 1)
	switch r.form() {
	case formBits, formRegisters:
		return len(b) == 4
	case formSingle:
		r.Quantity = 1
		r.Data = append([]byte(nil), b[2:]...)
		return true // Check verifies the length
	case formReadWrite:
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

// beyond reports whether the only fault of a request, whose quantities are all valid, is that it
// runs past address 65535.
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

// AppendRequest appends the PDU of a request that passed Check.
func AppendRequest(dst []byte, r Request) []byte {
	dst = append(dst, r.Function)
	f := r.form()
	switch f {
	case formRaw, formSub, formIdentity:
		return append(dst, r.Data...)
	case formBare:
		return dst
	case formFiles:
		return append(append(dst, byte(len(r.Data))), r.Data...)
	}
	dst = binary.BigEndian.AppendUint16(dst, r.Address)
	switch f {
	case formFIFO:
		return dst
	case formSingle:
		return append(dst, r.Data...)
	case formReadWrite:
		dst = binary.BigEndian.AppendUint16(dst, r.Quantity)
		dst = binary.BigEndian.AppendUint16(dst, r.WriteAddress)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Data)/2))
		return append(append(dst, byte(len(r.Data))), r.Data...)
	}
	dst = binary.BigEndian.AppendUint16(dst, r.Quantity)
	if f == formMany {
		dst = append(append(dst, byte(len(r.Data))), r.Data...)
	}
	return dst
}

// AppendResponse appends the PDU that answers r. It fails if the Data of answer does not match the
// request.
func AppendResponse(dst []byte, r Request, answer Response) ([]byte, error) {
	w, start := wantOf(r), len(dst)
	dst = append(dst, r.Function)
	switch f := r.form(); {
	case w.echo != nil:
		return append(dst, w.echo...), nil
	case f == formSub:
		dst = binary.BigEndian.AppendUint16(dst, subFunction(r.Data))
	case r.Function == ReadFIFOQueue:
		n := len(answer.Data)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n+2))
		dst = binary.BigEndian.AppendUint16(dst, uint16(n/2))
	case w.counted():
		dst = append(dst, byte(len(answer.Data)))
	}
	dst = append(dst, answer.Data...)
	if pdu := dst[start:]; len(pdu) > 253 || !w.fits(pdu) {
		return dst, fmt.Errorf("%s: answer of %d bytes does not fit the request", r, len(answer.Data))
	}
	return dst, nil
}

// AppendException appends the PDU that refuses a request of function with an exception code.
func AppendException(dst []byte, function, code uint8) []byte {
	return append(dst, function|0x80, code)
}
