// Package record writes the traffic of a Modbus line or connection to a text file and reads it
// again, for people and for replay. It neither taps nor replays.
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
// The first line names the format and its version. It is followed by header lines, which begin with
// a letter and consist of a word and its value; a reader skips words that it does not know. The
// known words are began, link, framing (rtu, ascii, tcp, rtu-over-tcp, ascii-over-tcp), transport
// (serial, tcp, tls, udp), baud and bits (per character). Only framing is required.
//
// Then there is one line per frame, in chronological order: the seconds since began, on a monotonic
// clock, with at most nine decimals; the direction, > for sent by the master, < for received by it,
// ! for an event without bytes on the wire; the bytes on the wire in hexadecimal, or - for none;
// and, unless it is a valid frame, a mark, one of those of modbus.Mark: cut, late, stray, crc,
// short, noise, silent, opened, lost. Text after " #" is a comment. Empty lines and lines that
// begin with # are ignored. A line has at most 64 KiB.
package record

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Header describes the origin of a recording.
type Header struct {
	Began     time.Time // zero: unknown
	Link      string    // path of the actor
	Framing   modbus.Framing
	Transport string // serial, tcp, tls or udp; empty: unknown
	Baud      int    // 0: none, or unknown
	Bits      int    // per character, including start, parity and stop bits; 0: unknown
}

// Entry is one line of a recording.
type Entry struct {
	At        time.Duration // since the beginning; never less than that of the previous entry
	Direction modbus.Direction
	Bytes     []byte
	Mark      modbus.Mark
	Note      string // comment for people, one line
}

const (
	magic   = "modbus-record "
	version = 1
	longest = 64 << 10
)

var directions = [...]string{modbus.Happened: "!", modbus.Sent: ">", modbus.Received: "<"}
