// Package record writes what was seen on a Modbus line or connection to a text file, and reads it again: for people, and to be replayed. It
// neither taps nor replays.
//
// # Format
//
//	modbus-record 1
//	began 2026-03-01T12:00:05.012345Z
//	link field/rs485-1/line
//	framing rtu
//	baud 19200
//	bits 11
//	0.000000 > 07030000000ac46b # unit 7: read holding registers 0+10
//	0.031250 < 07031400e600010005000000000000000000000000000000008f2a
//	1.000112 > 07030000000ac46b
//	2.012345 ! - silent
//	2.100000 < 0703ff1234 crc
//
// The first line names the format and its version. Lines that begin with a letter follow, a word and its value each; a reader skips words
// that it does not know. began, link, framing (rtu, ascii, tcp, rtu-over-tcp, ascii-over-tcp), transport (serial, tcp, tls, udp), baud and
// bits (per character) are known; only framing must be there.
//
// Then there is a line per frame, in the order of time: seconds since began, of a clock that nobody sets, with at most nine digits after
// the point; which way it went, > sent by the master, < received by it, ! nothing on the wire but something that happened; its bytes as
// they were on the wire in hexadecimal, or - for none; and a mark where it is no frame as it should be, one of those of modbus.Mark:
// cut, late, stray, crc, short, noise, silent, opened, lost. What follows " #" is for people. Empty lines, and those that begin with #,
// mean nothing. A line has at most 64 KiB.
package record

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Header says where a recording is from.
type Header struct {
	Began     time.Time // zero: unknown
	Link      string    // path of the actor
	Framing   modbus.Framing
	Transport string // serial, tcp, tls or udp; empty: unknown
	Baud      int    // 0: none, or unknown
	Bits      int    // of a character with start, parity and stop; 0: unknown
}

// Entry is one line of a recording.
type Entry struct {
	At        time.Duration // since the beginning; never less than that of the entry before
	Direction modbus.Direction
	Bytes     []byte
	Mark      modbus.Mark
	Note      string // for people, one line
}

const (
	magic   = "modbus-record "
	version = 1
	longest = 64 << 10
)

var directions = [...]string{modbus.Happened: "!", modbus.Sent: ">", modbus.Received: "<"}
