package modbus

import "fmt"

// Framing is the encoding of a PDU on the wire.
type Framing uint8

const (
	// RTU is binary with a CRC, on a serial line (Serial Line V1.02 §2.5.1).
	RTU Framing = iota
	// ASCII is hexadecimal with an LRC, on a serial line (§2.5.2).
	ASCII
	// TCP is the PDU with the MBAP header, on a stream (Messaging on TCP/IP V1.0b).
	TCP
	// RTUOverTCP is the RTU frame with its CRC, on a stream, as used by serial device servers.
	RTUOverTCP
	// ASCIIOverTCP is the ASCII frame, on a stream.
	ASCIIOverTCP
)

func (f Framing) String() string {
	switch f {
	case RTU:
		return "rtu"
	case ASCII:
		return "ascii"
	case TCP:
		return "tcp"
	case RTUOverTCP:
		return "rtu-over-tcp"
	case ASCIIOverTCP:
		return "ascii-over-tcp"
	}
	return "unknown framing"
}

// ParseFraming returns the Framing whose String is name.
func ParseFraming(name string) (Framing, error) {
	for f := RTU; f <= ASCIIOverTCP; f++ {
		if f.String() == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("%q is not a framing", name)
}

// serial reports whether frames travel on a serial line, which has timing and is shared with other
// units, and on which bytes may be lost, corrupted or delayed.
func (f Framing) serial() bool { return f == RTU || f == ASCII }

func (f Framing) ascii() bool { return f == ASCII || f == ASCIIOverTCP }

// size returns the number of bytes on the wire of a frame with a PDU of n bytes.
func (f Framing) size(n int) int {
	switch f {
	case ASCII, ASCIIOverTCP:
		return 1 + 2*(1+n+1) + 2
	case TCP:
		return 7 + n
	}
	return 1 + n + 2
}

// AppendFrame appends the frame that carries pdu (1..253 bytes) to or from unit. Only TCP uses
// transaction.
func AppendFrame(dst []byte, f Framing, transaction uint16, unit uint8, pdu []byte) []byte {
	switch f {
	case TCP:
		n := len(pdu) + 1
		dst = append(dst, byte(transaction>>8), byte(transaction), 0, 0, byte(n>>8), byte(n), unit)
		return append(dst, pdu...)
	case ASCII, ASCIIOverTCP:
		return appendASCII(dst, unit, pdu)
	}
	start := len(dst)
	dst = append(append(dst, unit), pdu...)
	c := crc(dst[start:])
	return append(dst, byte(c), byte(c>>8))
}

// crc returns the CRC-16 of b with polynomial 0xA001 and initial value 0xFFFF. The result over a
// frame followed by its CRC, low byte first, is 0.
func crc(b []byte) uint16 {
	c := uint16(0xffff)
	for _, v := range b {
		c ^= uint16(v)
		c = c>>4 ^ crcTable[c&15]
		c = c>>4 ^ crcTable[c&15]
	}
	return c
}

var crcTable = [16]uint16{
	0x0000, 0xcc01, 0xd801, 0x1400, 0xf001, 0x3c00, 0x2800, 0xe401,
	0xa001, 0x6c00, 0x7800, 0xb401, 0x5000, 0x9c01, 0x8801, 0x4400,
}
