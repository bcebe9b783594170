package server

import (
	"encoding/binary"
	"sync/atomic"

	"gatewayd/protocols/modbus"
)

// readIdentity is the type of encapsulated interface that reads the device identification
// (Application Protocol V1.1b3 §6.21).
const readIdentity byte = 14

// maxPDU is the maximum length of a PDU.
const maxPDU = 253

// Identity answers requests about the server itself: functions 8 (sub-function 0), 11, 17 and
// 43/14.
type Identity struct {
	Vendor, Product, Version, URL, Name, Model, Application string

	events atomic.Uint32 // requests carried out
}

// Done counts a request that was carried out, for function 11.
func (i *Identity) Done() { i.events.Add(1) }

// Answer appends the answer to a request PDU if the request is about the server itself.
func (i *Identity) Answer(dst, pdu []byte) (answer []byte, mine bool) {
	switch pdu[0] {
	case modbus.Diagnostics:
		return i.echo(dst, pdu), true
	case modbus.ReadEventCounter:
		if len(pdu) != 1 {
			return modbus.AppendException(dst, pdu[0], modbus.IllegalValue), true
		}
		return binary.BigEndian.AppendUint16(append(dst, pdu[0], 0, 0), uint16(i.events.Load())), true
	case modbus.ReportServerID:
		if len(pdu) != 1 {
			return modbus.AppendException(dst, pdu[0], modbus.IllegalValue), true
		}
		text := clip(i.Product+" "+i.Version, maxPDU-4)
		return append(append(dst, pdu[0], byte(2+len(text)), 'g', 0xff), text...), true // running
	case modbus.EncapsulatedInterface:
		return i.identify(dst, pdu), true
	}
	return dst, false
}

// echo answers diagnostics sub-function 0, Return Query Data.
func (i *Identity) echo(dst, pdu []byte) []byte {
	switch {
	case len(pdu) < 3:
		return modbus.AppendException(dst, pdu[0], modbus.IllegalValue)
	case pdu[1] != 0 || pdu[2] != 0:
		return modbus.AppendException(dst, pdu[0], modbus.IllegalFunction)
	}
	return append(dst, pdu...)
}

func clip(s string, n int) string { return s[:min(len(s), n)] }

// objects returns the objects of the identification by number; missing ones are empty.
func (i *Identity) objects() [7]string {
	return [7]string{i.Vendor, i.Product, i.Version, i.URL, i.Name, i.Model, i.Application}
}

// identify answers function 43/14, Read Device Identification, with conformity level regular.
func (i *Identity) identify(dst, pdu []byte) []byte {
	fn := pdu[0]
	switch {
	case len(pdu) < 2 || pdu[1] != readIdentity:
		return modbus.AppendException(dst, fn, modbus.IllegalFunction)
	case len(pdu) != 4 || pdu[2] < 1 || pdu[2] > 4:
		return modbus.AppendException(dst, fn, modbus.IllegalValue)
	}
	code, first, objects := pdu[2], int(pdu[3]), i.objects()
	last := 2 // basic
	if code > 1 {
		last = len(objects) - 1 // regular; there are no extended ones
	}
	if code == 4 {
		if first >= len(objects) || first > 2 && objects[first] == "" {
			return modbus.AppendException(dst, fn, modbus.IllegalAddress)
		}
		last = first
	} else if first > last {
		first = 0
	}
	start := len(dst)
	dst = append(dst, fn, readIdentity, code, 0x82, 0, 0, 0) // regular, stream and individual access
	for n := first; n <= last; n++ {
		text := clip(objects[n], maxPDU-9)
		if n > 2 && text == "" {
			continue
		}
		if len(dst)-start+2+len(text) > maxPDU {
			dst[start+4], dst[start+5] = 0xff, byte(n) // more objects follow, starting with this one
			break
		}
		dst = append(append(dst, byte(n), byte(len(text))), text...)
		dst[start+6]++
	}
	return dst
}
