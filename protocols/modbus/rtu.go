package modbus

// findRTU finds the first answer with a good CRC in b, wherever it starts: RS-485 drivers put glitch bytes before frames, and the frames of
// other units or what noise made of them may precede it. It returns the frame and the index after it, or nil. Where the answer w has begun
// but is not complete it does not look further: a long answer's values may look like another frame.
func findRTU(b []byte, w want) (frame []byte, end int) {
	for i := 0; i+2 <= len(b); i++ {
		if n := w.size + 3; w.begins(b[i:]) && i+n > len(b) {
			return nil, 0
		}
		n := rtuAnswerSize(b[i:])
		if n > 0 && i+n <= len(b) && crc(b[i:i+n]) == 0 {
			return b[i : i+n], i + n
		}
	}
	return nil, 0
}

// rtuAnswerSize is the size of the answer that begins b by its function and byte count; 0: cannot be told (yet).
func rtuAnswerSize(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n := answerSize(b[1:])
	if n == 0 {
		return 0
	}
	return n + 3
}

// answerSize is the size an answer PDU must have by its own function and byte count; 0: cannot be told.
func answerSize(pdu []byte) int {
	if len(pdu) < 1 {
		return 0
	}
	switch fn := pdu[0]; fn {
	case WriteSingleCoil, WriteSingleRegister, WriteMultipleCoils, WriteMultipleRegisters:
		return 5
	case MaskWriteRegister:
		return 7
	case ReadCoils, ReadDiscreteInputs, ReadHoldingRegisters, ReadInputRegisters, ReadWriteMultipleRegisters:
		if len(pdu) < 2 || pdu[1] > 250 {
			return 0
		}
		return 2 + int(pdu[1])
	default:
		if fn&0x80 != 0 {
			return 2
		}
	}
	return 0
}

// rtuRequestSize is the size of the request frame that begins b. more: too few bytes to tell; 0 without more: not a function of ours.
func rtuRequestSize(b []byte) (n int, more bool) {
	if len(b) < 2 {
		return 0, true
	}
	at := 0
	switch b[1] {
	case ReadCoils, ReadDiscreteInputs, ReadHoldingRegisters, ReadInputRegisters, WriteSingleCoil, WriteSingleRegister:
		return 8, false
	case MaskWriteRegister:
		return 10, false
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
