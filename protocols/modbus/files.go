package modbus

import (
	"encoding/binary"
	"fmt"
)

// reference is the reference type of functions 20 and 21. It is the only one defined (V1.1b3
// §6.14).
const reference = 6

// Records is a run of consecutive registers in a file of a unit.
type Records struct {
	File   uint16   // 1..65535
	Record uint16   // the first register, 0..9999
	Length uint16   // number of registers to read
	Values []uint16 // registers to write, or registers read
}

// ReadFiles returns the request that reads runs of registers: at most 35 runs, and as many
// registers as fit into the 245 bytes of one answer, of which each run takes two bytes besides its
// registers.
func ReadFiles(unit uint8, runs ...Records) Request {
	r := Request{Unit: unit, Function: ReadFileRecord}
	for _, run := range runs {
		r.Data = appendRun(r.Data, run.File, run.Record, run.Length)
	}
	return r
}

// WriteFiles returns the request that writes runs of registers. Its data holds 251 bytes, of which
// each run takes seven besides its registers.
func WriteFiles(unit uint8, runs ...Records) Request {
	r := Request{Unit: unit, Function: WriteFileRecord}
	for _, run := range runs {
		r.Data = appendRun(r.Data, run.File, run.Record, uint16(min(len(run.Values), 0xffff)))
		for _, v := range run.Values {
			r.Data = binary.BigEndian.AppendUint16(r.Data, v)
		}
	}
	return r
}

func appendRun(b []byte, file, record, length uint16) []byte {
	b = binary.BigEndian.AppendUint16(append(b, reference), file)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, record), length)
}

// Files returns the runs of a request of function 20 or 21, or nil if they cannot be parsed.
func (r Request) Files() []Records {
	var runs []Records
	for b := r.Data; len(b) > 0; {
		run, n := splitRun(r.Function, b)
		if n == 0 {
			return nil
		}
		runs, b = append(runs, run), b[n:]
	}
	return runs
}

// splitRun parses the first run of a request. n is the number of its bytes, or 0 if b does not
// begin with a run.
func splitRun(function uint8, b []byte) (run Records, n int) {
	if len(b) < 7 {
		return run, 0
	}
	run = Records{File: binary.BigEndian.Uint16(b[1:]), Record: binary.BigEndian.Uint16(b[3:]), Length: binary.BigEndian.Uint16(b[5:])}
	if function == ReadFileRecord {
		return run, 7
	}
	n = 7 + 2*int(run.Length)
	if len(b) < n {
		return run, 0
	}
	for i := 7; i < n; i += 2 {
		run.Values = append(run.Values, binary.BigEndian.Uint16(b[i:]))
	}
	return run, n
}

// errAddress marks a request error that a server answers with exception 2 instead of 3.
type errAddress struct{ error }

// checkFiles checks that the sub-requests are complete and that the addresses in them exist.
func checkFiles(r Request) error {
	most := 245
	if r.Function == WriteFileRecord {
		most = 251
	}
	if len(r.Data) == 0 || len(r.Data) > most {
		return fmt.Errorf("%d bytes of sub-requests are not within 1..%d", len(r.Data), most)
	}
	answer := 0
	for b := r.Data; len(b) > 0; {
		run, n := splitRun(r.Function, b)
		if n == 0 {
			return fmt.Errorf("the last sub-request is incomplete")
		}
		if answer += 2 + 2*int(run.Length); r.Function == ReadFileRecord && answer > 245 {
			return fmt.Errorf("the answer would have more than 245 bytes")
		}
		if run.Length == 0 {
			return fmt.Errorf("file %d, record %d: no register", run.File, run.Record)
		}
		b = b[n:]
	}
	return checkRuns(r)
}

func checkRuns(r Request) error {
	for b := r.Data; len(b) > 0; {
		run, n := splitRun(r.Function, b)
		switch {
		case b[0] != reference:
			return errAddress{fmt.Errorf("reference type %d is not 6", b[0])}
		case run.File == 0:
			return errAddress{fmt.Errorf("file 0 is not within 1..65535")}
		case int(run.Record)+int(run.Length) > 10000:
			return errAddress{fmt.Errorf("file %d, records %d+%d end beyond record 9999", run.File, run.Record, run.Length)}
		}
		b = b[n:]
	}
	return nil
}

// answersFiles reports whether pdu answers the sub-requests of function 20 in data: the same number
// of runs, with the requested lengths.
func answersFiles(data, pdu []byte) bool {
	rest := pdu[2:]
	for ; len(data) >= 7; data = data[7:] {
		n := 2 * int(binary.BigEndian.Uint16(data[5:]))
		if len(rest) < 2+n || int(rest[0]) != 1+n || rest[1] != reference {
			return false
		}
		rest = rest[2+n:]
	}
	return len(rest) == 0
}

// ParseFiles parses the Data of the answer to a request of function 20 into the runs that were
// requested.
func ParseFiles(r Request, data []byte) ([]Records, error) {
	if !answersFiles(r.Data, append([]byte{ReadFileRecord, 0}, data...)) {
		return nil, fmt.Errorf("%s: the answer has other records than requested", r)
	}
	runs := r.Files()
	for i := range runs {
		for data = data[2:]; len(runs[i].Values) < int(runs[i].Length); data = data[2:] {
			runs[i].Values = append(runs[i].Values, binary.BigEndian.Uint16(data))
		}
	}
	return runs, nil
}

// AppendFiles appends the Data of the answer to a request of function 20.
func AppendFiles(dst []byte, runs ...Records) []byte {
	for _, run := range runs {
		dst = append(dst, byte(1+2*len(run.Values)), reference)
		for _, v := range run.Values {
			dst = binary.BigEndian.AppendUint16(dst, v)
		}
	}
	return dst
}

// filesSize returns the size of the answer PDU of function 20.
func filesSize(r Request) int {
	n := 2
	for b := r.Data; len(b) >= 7; b = b[7:] {
		n += 2 + 2*int(binary.BigEndian.Uint16(b[5:]))
	}
	return n
}
