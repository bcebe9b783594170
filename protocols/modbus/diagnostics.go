package modbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sub-functions of Diagnostics (V1.1b3 §6.8.1).
const (
	ReturnQueryData uint16 = 0 // loopback: the answer is a copy of the request
	// Data FF 00 also clears the event log; a unit in listen-only mode restarts without an answer.
	RestartCommunications    uint16 = 1
	ReturnDiagnosticRegister uint16 = 2
	ChangeDelimiter          uint16 = 3 // data: the character that ends ASCII frames instead of LF, then 00
	// Never answered; the unit then carries out requests without answering until
	// RestartCommunications.
	ForceListenOnly           uint16 = 4
	ClearCounters             uint16 = 10 // also clears the diagnostic register
	ReturnBusMessages         uint16 = 11 // frames seen on the line
	ReturnBusErrors           uint16 = 12 // frames with a bad checksum
	ReturnBusExceptions       uint16 = 13 // exceptions answered
	ReturnServerMessages      uint16 = 14 // requests to this unit, and broadcasts
	ReturnServerNoResponses   uint16 = 15 // requests without an answer
	ReturnServerNAKs          uint16 = 16 // exceptions with code 7 answered
	ReturnServerBusy          uint16 = 17 // exceptions with code 6 answered
	ReturnBusCharacterOverrun uint16 = 18 // characters lost because they arrived too fast
	ClearOverrun              uint16 = 20
)

// Diagnose returns the request for a sub-function with its data: two bytes, for most sub-functions
// 00 00; for ReturnQueryData an even number of bytes from 2 to 250.
func Diagnose(unit uint8, sub uint16, data ...byte) Request {
	return Request{Unit: unit, Function: Diagnostics, Data: append(binary.BigEndian.AppendUint16(nil, sub), data...)}
}

func subFunction(data []byte) uint16 {
	if len(data) < 2 {
		return 0xffff
	}
	return word(data, 0)
}

// changes reports whether a sub-function changes the state of the unit.
func changes(sub uint16) bool {
	switch sub {
	case RestartCommunications, ChangeDelimiter, ForceListenOnly, ClearCounters, ClearOverrun:
		return true
	}
	return false
}

// counts reports whether the answer to a sub-function is a number rather than an echo.
func counts(sub uint16) bool {
	return sub == ReturnDiagnosticRegister || sub >= ReturnBusMessages && sub <= ReturnBusCharacterOverrun
}

func checkDiagnostics(data []byte) error {
	if len(data) < 4 || len(data) > 252 || len(data)%2 != 0 {
		return fmt.Errorf("%d bytes of data: want a sub-function and its data, 2 to 250 bytes, an even number", len(data))
	}
	sub, arg := subFunction(data), data[2:]
	switch {
	case sub == ReturnQueryData:
		return nil
	case !changes(sub) && !counts(sub):
		return fmt.Errorf("sub-function %d is not in the specification", sub)
	case len(arg) != 2:
		return fmt.Errorf("sub-function %d has 2 bytes of data, not %d", sub, len(arg))
	case sub == RestartCommunications && arg[1] == 0 && (arg[0] == 0 || arg[0] == 0xff), sub == ChangeDelimiter && arg[1] == 0:
		return nil
	case arg[0] != 0 || arg[1] != 0:
		return fmt.Errorf("% x is not valid data for sub-function %d", arg, sub)
	}
	return nil
}

// Events is the answer to ReadEventLog.
type Events struct {
	Busy     bool   // the unit is still carrying out a long command
	Count    uint16 // requests carried out
	Messages uint16 // requests seen
	Events   []Event
}

// Event is one byte of a unit's event log (V1.1b3 §6.10). The newest event comes first in a log.
type Event byte

// ParseEvents parses the Data of an answer to ReadEventLog.
func ParseEvents(data []byte) (Events, error) {
	if len(data) < 6 {
		return Events{}, errors.New("an event log has at least six bytes")
	}
	e := Events{Busy: word(data, 0) != 0, Count: word(data, 1), Messages: word(data, 2)}
	for _, b := range data[6:] {
		e.Events = append(e.Events, Event(b))
	}
	return e, nil
}

// String describes the event.
func (e Event) String() string {
	of := func(text string, names [8]string) string {
		for bit, name := range names {
			if name != "" && e>>bit&1 == 1 {
				text += ", " + name
			}
		}
		return text
	}
	switch {
	case e == 0:
		return "communication restarted"
	case e == 4:
		return "entered listen-only mode"
	case e&0x80 != 0:
		return of("received", [8]string{1: "communication error", 4: "character overrun", 5: "in listen-only mode", 6: "broadcast"})
	case e&0x40 != 0:
		return of("answered", [8]string{"exception 1 to 3", "exception 4", "exception 5 or 6", "exception 7", "write timeout", "in listen-only mode"})
	}
	return fmt.Sprintf("event %#02x", byte(e))
}
