package sim

import (
	"encoding/binary"
	"slices"

	"gatewayd/protocols/modbus"
)

// desk counts what a device receives and sends, as reported by functions 8, 11 and 12 (V1.1b3 §6.8
// to §6.10).
type desk struct {
	heard     uint16     // frames on the line
	counts    [19]uint16 // by the sub-function that reads them
	completed uint16     // the counter of function 11
	events    []byte     // newest first
	listening bool       // in listen-only mode
}

const (
	received      byte = 0x80
	listenOnly    byte = 0x20
	broadcasted   byte = 0x40
	answered      byte = 0x40
	enteredListen byte = 0x04
	restarted     byte = 0x00
)

func (d *desk) note(event byte) {
	d.events = slices.Insert(d.events, 0, event)
	d.events = d.events[:min(len(d.events), 64)]
}

// hear records a request for the device.
func (d *desk) hear(broadcast bool) {
	d.heard++
	d.counts[modbus.ReturnServerMessages]++
	event := received
	if broadcast {
		event |= broadcasted
	}
	if d.listening {
		event |= listenOnly
	}
	if broadcast || d.listening {
		d.counts[modbus.ReturnServerNoResponses]++
	}
	d.note(event)
}

// say records how a request has ended.
func (d *desk) say(function, exception uint8) {
	event := answered
	switch exception {
	case 0:
		if function != modbus.ReadEventCounter {
			d.completed++
		}
	case modbus.IllegalFunction, modbus.IllegalAddress, modbus.IllegalValue:
		event |= 1
	case modbus.DeviceFailure:
		event |= 2
	case modbus.Acknowledge, modbus.DeviceBusy:
		event |= 4
	case modbus.NegativeAcknowledge:
		event |= 8
	}
	if exception != 0 {
		d.counts[modbus.ReturnBusExceptions]++
	}
	switch exception {
	case modbus.DeviceBusy:
		d.counts[modbus.ReturnServerBusy]++
	case modbus.NegativeAcknowledge:
		d.counts[modbus.ReturnServerNAKs]++
	}
	if d.listening {
		event |= listenOnly
	}
	d.note(event)
}

func (d *desk) counter() []byte {
	return binary.BigEndian.AppendUint16([]byte{0, 0}, d.completed)
}

func (d *desk) log() []byte {
	return append(binary.BigEndian.AppendUint16(d.counter(), d.heard), d.events...)
}

// diagnose carries out a sub-function. The data has been checked by Request.Check.
func (d *desk) diagnose(data []byte) modbus.Response {
	sub := binary.BigEndian.Uint16(data)
	switch sub {
	case modbus.RestartCommunications:
		d.clear()
		d.listening = false
		if data[2] == 0xff {
			d.events = nil
		}
		d.note(restarted)
	case modbus.ForceListenOnly:
		d.listening = true
		d.note(enteredListen)
	case modbus.ClearCounters:
		d.clear()
	case modbus.ClearOverrun:
		d.counts[modbus.ReturnBusCharacterOverrun] = 0
	case modbus.ReturnBusMessages:
		return number(d.heard)
	}
	if int(sub) < len(d.counts) && sub != modbus.ReturnQueryData {
		return number(d.counts[sub])
	}
	return modbus.Response{}
}

func (d *desk) clear() {
	d.heard, d.completed, d.counts = 0, 0, [19]uint16{}
}

func number(v uint16) modbus.Response {
	return modbus.Response{Data: binary.BigEndian.AppendUint16(nil, v)}
}
