package modbus

import (
	"fmt"
	"time"
)

// Frame is something that was seen on a line or connection, below all judgement of its contents.
type Frame struct {
	At        time.Time // with monotonic clock: what was sent has just been handed to the port then, what came had come
	Direction Direction
	Mark      Mark
	// Unit and Function of what goes on: those in the frame; of what is no frame those of the request that was waited for. Both 0: unknown.
	Unit, Function uint8
	Bytes          []byte // as they were on the wire, with header or checksum; none for what merely happened
	Size           int    // how many there were; larger than len(Bytes) where not all were kept
}

// Direction is which way a frame went.
type Direction uint8

const (
	// Happened is no frame: the connection was opened, an answer did not come.
	Happened Direction = iota
	// Sent by us.
	Sent
	// Received by us.
	Received
)

// Mark is what is wrong with a frame, or what has happened.
type Mark uint8

const (
	// Good is a frame as it should be: what was sent, or the answer to it.
	Good Mark = iota
	// Cut: not all of what was sent has gone out.
	Cut
	// Late: the answer to a request that was given up.
	Late
	// Stray: a good frame that answers nothing.
	Stray
	// BadChecksum: as many bytes as a frame has, whose CRC or LRC is wrong.
	BadChecksum
	// Short: the beginning of a frame; the rest has not come.
	Short
	// Noise: bytes that belong to no frame.
	Noise
	// Silent happened: the answer has not come in time.
	Silent
	// Opened happened: the connection or port is new.
	Opened
	// Lost happened: the connection or port is of no use any more.
	Lost
)

var marks = [...]string{"", "cut", "late", "stray", "crc", "short", "noise", "silent", "opened", "lost"}

// String is a word of lower-case letters; of a whole frame none.
func (m Mark) String() string {
	if int(m) < len(marks) {
		return marks[m]
	}
	return fmt.Sprintf("mark%d", uint8(m))
}

// ParseMark is the Mark that a word says.
func ParseMark(word string) (Mark, error) {
	for i, w := range marks {
		if w == word {
			return Mark(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no mark of a frame", word)
}

// PDU is the function code and what follows it of a frame that was sent, or received with a good checksum, as far as its Bytes were kept.
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

// binaryOf is the bytes that begin an ASCII frame.
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

// Checksums are the CRC or LRC in a frame and the one that it should have; ok is false where the framing has none, or the frame is too short.
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
