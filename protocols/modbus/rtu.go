package modbus

// findRTU finds the first answer with a correct CRC in b, wherever it starts: RS-485 drivers put
// glitch bytes before frames, and frames of other units, possibly corrupted by noise, may precede
// it. It returns the frame and the index after it, or nil. Where the answer w has begun but is not
// complete it looks no further, because the values in a long answer may look like another frame.
func findRTU(b []byte, w want) (frame []byte, end int) {
	for i := 0; i+2 <= len(b); i++ {
		n := rtuAnswerSize(b[i:])
		if w.begins(b[i:]) {
			size, sure := w.expect(b[i:])
			if n = size + 3; !sure || i+n > len(b) {
				return nil, 0
			}
		}
		if n > 0 && i+n <= len(b) && crc(b[i:i+n]) == 0 {
			return b[i : i+n], i + n
		}
	}
	return nil, 0
}

// rtuAnswerSize returns the size of the answer at the start of b according to its function and
// counts; 0: unknown, or not known yet.
func rtuAnswerSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n, whole := answerSize(b[1:])
	if !whole {
		return 0
	}
	return n + 3
}

// begunRTU reports whether the answer w may have begun in b.
func begunRTU(b []byte, w want) bool {
	for i := range b {
		if w.begins(b[i:]) {
			return true
		}
	}
	return false
}

// tailRTU returns the answer of a function without a known size after all bytes have arrived: it
// ends with the last byte.
func tailRTU(b []byte, w want) []byte {
	for i := 0; i+4 <= len(b); i++ {
		if w.begins(b[i:]) && crc(b[i:]) == 0 {
			return b[i : len(b)-2]
		}
	}
	return nil
}

// rtuRequestSize returns the size of the request frame at the start of b. more is true if there are
// too few bytes to determine it; 0 without more means that the function is unknown.
func rtuRequestSize(b []byte) (n int, more bool) {
	if len(b) < 2 {
		return 0, true
	}
	at := 0
	switch b[1] {
	case ReadExceptionStatus, ReadEventCounter, ReadEventLog, ReportServerID:
		return 4, false
	case ReadFIFOQueue:
		return 6, false
	case ReadCoils, ReadDiscreteInputs, ReadHoldingRegisters, ReadInputRegisters, WriteSingleCoil, WriteSingleRegister, Diagnostics:
		return 8, false
	case MaskWriteRegister:
		return 10, false
	case EncapsulatedInterface:
		if len(b) < 3 {
			return 0, true
		}
		if b[2] != deviceIdentification {
			return 0, false
		}
		return 7, false
	case ReadFileRecord, WriteFileRecord:
		at = 2
	case WriteMultipleCoils, WriteMultipleRegisters:
		at = 6
	case ReadWriteMultipleRegisters:
		at = 10
	default:
		return 0, false
	}
	if len(b) <= at {
		return 0, true
	}
	return at + 1 + int(b[at]) + 2, false
}
