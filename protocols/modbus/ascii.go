package modbus

import "bytes"

const hexDigits = "0123456789ABCDEF"

func appendASCII(dst []byte, unit uint8, pdu []byte) []byte {
	dst = append(dst, ':', hexDigits[unit>>4], hexDigits[unit&15])
	sum := unit
	for _, v := range pdu {
		dst = append(dst, hexDigits[v>>4], hexDigits[v&15])
		sum += v
	}
	sum = -sum
	return append(dst, hexDigits[sum>>4], hexDigits[sum&15], '\r', '\n')
}

// findASCII finds the first line of b that is a frame with a correct LRC. It returns the frame's
// text from ':' to LF, its bytes from the unit to the end of the PDU, and the index after it. bad
// counts the preceding lines that were not valid frames.
func findASCII(b []byte) (text, body []byte, end, bad int) {
	for {
		nl := bytes.Index(b[end:], []byte("\r\n"))
		if nl < 0 {
			return nil, nil, end, bad
		}
		line := b[end : end+nl+2]
		end += nl + 2
		// A colon restarts reception (§2.5.2.1), whatever preceded it.
		if i := bytes.LastIndexByte(line, ':'); i >= 0 {
			if body := unhex(line[i+1 : len(line)-2]); body != nil {
				return line[i:], body, end, bad
			}
		}
		bad++
	}
}

// unhex decodes a line without ':' and CRLF and removes its LRC. It returns nil if the line is not
// hexadecimal, has an invalid length or a wrong LRC.
func unhex(line []byte) []byte {
	if len(line)%2 != 0 || len(line) < 6 || len(line) > 2*(1+253+1) {
		return nil
	}
	out := make([]byte, 0, len(line)/2)
	sum := byte(0)
	for i := 0; i < len(line); i += 2 {
		hi, lo := nibble(line[i]), nibble(line[i+1])
		if hi > 15 || lo > 15 {
			return nil
		}
		out = append(out, hi<<4|lo)
		sum += hi<<4 | lo
	}
	if sum != 0 {
		return nil
	}
	return out[:len(out)-1]
}

func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
