package modbus

import (
	"fmt"
	"time"
)

// Frame is something seen on a line or connection. Its contents are not interpreted.
type Frame struct {
	// At is the time, with monotonic clock: for a sent frame, when it was handed to the port; for a received one,
	// when it had been read
	At        time.Time
	Direction Direction
	Mark      Mark
	// Unit and Function are those in the frame. For bytes that are not a frame they are those of
	// the request whose answer is awaited. Both 0: unknown.
	Unit, Function uint8
	Bytes          []byte // the bytes on the wire, including header or checksum; none for an event
	Size           int    // number of bytes on the wire; larger than len(Bytes) if not all were kept
}

// Direction is the direction of a frame.
type Direction uint8

const (
	// Happened is an event without a frame, for instance: a connection was opened, an answer is
	// missing.
	Happened Direction = iota
	// Sent is a frame sent by this side.
	Sent
	// Received is a frame received by this side.
	Received
)

// Mark says what is wrong with a frame, or which event happened.
type Mark uint8

const (
	// Good is a valid frame: one that was sent, or the answer to it.
	Good Mark = iota
	// Cut is a frame that was sent only in part.
	Cut
	// Late is the answer to a request that was given up.
	Late
	// Stray is a valid frame that answers no request.
	Stray
	// BadChecksum is a sequence of bytes with the length of a frame and a wrong CRC or LRC.
	BadChecksum
	// Short is the beginning of a frame whose rest has not arrived.
	Short
	// Noise is a sequence of bytes that belong to no frame.
	Noise
	// Silent is an event: the answer did not arrive in time.
	Silent
	// Opened is an event: the connection or port is new.
	Opened
	// Lost is an event: the connection or port can no longer be used.
	Lost
)

var marks = [...]string{"", "cut", "late", "stray", "crc", "short", "noise", "silent", "opened", "lost"}

// String returns a word in lower-case letters. It is empty for Good.
func (m Mark) String() string {
	if int(m) < len(marks) {
		return marks[m]
	}
	return fmt.Sprintf("mark%d", uint8(m))
}

// ParseMark returns the Mark whose String is word.
func ParseMark(word string) (Mark, error) {
	for i, w := range marks {
		if w == word {
			return Mark(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a mark of a frame", word)
}

// PDU returns the function code and the bytes after it of a frame that was sent, or received with a
// correct checksum, as far as its Bytes were kept.
func (f Frame) PDU(framing Framing) []byte {
	b, tail := f.Bytes, 0
	switch {
	case framing == TCP:
		return b[min(7, len(b)):]
	case framing.ascii():
		b = binaryOf(b)
		if len(f.Bytes) == f.Size {
			tail = 1
		}
	case len(b) == f.Size:
		tail = 2
	}
	if len(b) < 1+tail {
		return nil
	}
	return b[1 : len(b)-tail]
}

// binaryOf decodes the leading bytes of an ASCII frame.
func binaryOf(line []byte) (b []byte) {
	for i := 1; i+1 < len(line); i += 2 {
		hi, lo := nibble(line[i]), nibble(line[i+1])
		if hi > 15 || lo > 15 {
			break
		}
		b = append(b, hi<<4|lo)
	}
	return b
}

// Checksums returns the CRC or LRC in a frame and its correct value. ok is false if the framing has
// no checksum or the frame is too short.
func (f Frame) Checksums(framing Framing) (is, want uint16, ok bool) {
	b := f.Bytes
	switch {
	case framing == TCP:
		return 0, 0, false
	case framing.ascii():
		if b = binaryOf(b); len(b) < 3 {
			return 0, 0, false
		}
		sum := byte(0)
		for _, v := range b[:len(b)-1] {
			sum -= v
		}
		return uint16(b[len(b)-1]), uint16(sum), true
	case len(b) < 4:
		return 0, 0, false
	}
	n := len(b) - 2
	return uint16(b[n]) | uint16(b[n+1])<<8, crc(b[:n]), true
}
