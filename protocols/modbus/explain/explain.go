// Package explain describes in words the frames that a tap has seen or a recording contains: what
// was requested from which unit, and what the answer says. It does not judge frames: their marks
// were set by the receiver.
package explain

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
)

// Line is a frame and its description.
type Line struct {
	At        time.Time
	Gap       time.Duration // since the previous frame; 0 for the first
	Direction string        // sent, received, or empty for an event
	Mark      string        // that of the frame
	Unit      uint8
	Function  uint8
	Bytes     []byte
	Size      int    // bytes on the wire
	Text      string // the description
}

// Reader explains the frames of one link, in their order: an answer means little without its
// request. The zero Reader is ready to use.
type Reader struct {
	Serving bool // we are the server: received frames are requests

	last    time.Time
	framing modbus.Framing
	asked   map[uint16]modbus.Request // by transaction id, or by unit and function
}

// most is the number of requests that are remembered.
const most = 1024

// Explain explains the next frame.
func (r *Reader) Explain(framing modbus.Framing, f modbus.Frame) Line {
	l := Line{At: f.At, Mark: f.Mark.String(), Unit: f.Unit, Function: f.Function, Bytes: f.Bytes, Size: f.Size}
	if !r.last.IsZero() {
		l.Gap = max(0, f.At.Sub(r.last))
	}
	if r.asked == nil || len(r.asked) > most || r.framing != framing {
		r.asked, r.framing = map[uint16]modbus.Request{}, framing
	}
	r.last = f.At
	switch f.Direction {
	case modbus.Sent:
		l.Direction, l.Text = "sent", r.text(f)
	case modbus.Received:
		l.Direction, l.Text = "received", r.text(f)
	default:
		l.Text = happened(f.Mark)
	}
	return l
}

// text describes a frame.
func (r *Reader) text(f modbus.Frame) string {
	switch f.Mark {
	case modbus.BadChecksum:
		if is, want, ok := f.Checksums(r.framing); ok && len(f.Bytes) == f.Size {
			return fmt.Sprintf("%d bytes with checksum %04x instead of %04x", f.Size, is, want)
		}
		return fmt.Sprintf("%d bytes with a bad checksum", f.Size)
	case modbus.Short:
		return fmt.Sprintf("only %d bytes", f.Size)
	case modbus.Noise:
		return fmt.Sprintf("%d bytes outside any frame", f.Size)
	}
	if (f.Direction == modbus.Received) == r.Serving {
		return r.request(f)
	}
	return r.answer(f)
}

func happened(m modbus.Mark) string {
	switch m {
	case modbus.Silent:
		return "no answer"
	case modbus.Opened:
		return "opened"
	case modbus.Lost:
		return "lost"
	}
	return m.String()
}

// key returns what an answer is matched to its request by.
func (r *Reader) key(f modbus.Frame) uint16 {
	if r.framing == modbus.TCP && len(f.Bytes) >= 2 {
		return binary.BigEndian.Uint16(f.Bytes)
	}
	return uint16(f.Unit)<<8 | uint16(f.Function)
}

func (r *Reader) request(f modbus.Frame) string {
	pdu := f.PDU(r.framing)
	if len(pdu) == 0 {
		return ""
	}
	q, _ := modbus.ParseRequest(f.Unit, pdu)
	if f.Mark == modbus.Good {
		r.asked[r.key(f)] = q
	}
	text := strings.TrimPrefix(q.String(), fmt.Sprintf("unit %d: ", f.Unit))
	if v := written(q, pdu); v != "" {
		text += ": " + v
	}
	return text
}

// written describes what a request writes.
func written(q modbus.Request, pdu []byte) string {
	switch q.Function {
	case modbus.WriteSingleCoil:
		if len(pdu) > 3 && pdu[3] == 0xff {
			return "on"
		}
		return "off"
	case modbus.WriteSingleRegister:
		return registers(from(pdu, 3), 1)
	case modbus.WriteMultipleCoils:
		return bits(from(pdu, 6), int(q.Quantity))
	case modbus.WriteMultipleRegisters:
		return registers(from(pdu, 6), int(q.Quantity))
	case modbus.ReadWriteMultipleRegisters:
		return registers(from(pdu, 10), len(q.Data)/2)
	case modbus.MaskWriteRegister:
		if len(pdu) >= 7 {
			return fmt.Sprintf("and 0x%04x or 0x%04x", binary.BigEndian.Uint16(pdu[3:]), binary.BigEndian.Uint16(pdu[5:]))
		}
	}
	return ""
}

func from(pdu []byte, at int) []byte { return pdu[min(at, len(pdu)):] }

func (r *Reader) answer(f modbus.Frame) string {
	pdu := f.PDU(r.framing)
	switch {
	case len(pdu) == 0:
		return fmt.Sprintf("%d bytes", f.Size)
	case pdu[0]&0x80 != 0 && len(pdu) > 1:
		return (&modbus.Exception{Function: pdu[0] & 0x7f, Code: pdu[1]}).Error()
	}
	q, known := r.asked[r.key(f)]
	return answer(pdu, q, known && q.Function == pdu[0] && f.Mark != modbus.Stray)
}

// answer describes an answer; q is its request, if known.
func answer(pdu []byte, q modbus.Request, known bool) string {
	name := modbus.FunctionName(pdu[0])
	if known {
		name = fmt.Sprintf("%s %d+%d", name, q.Address, max(q.Quantity, 1))
	}
	switch pdu[0] {
	case modbus.ReadHoldingRegisters, modbus.ReadInputRegisters, modbus.ReadWriteMultipleRegisters:
		return name + ": " + registers(from(pdu, 2), (int(at(pdu, 1)))/2)
	case modbus.ReadCoils, modbus.ReadDiscreteInputs:
		n := 8 * int(at(pdu, 1))
		if known {
			n = int(q.Quantity)
		}
		return name + ": " + bits(from(pdu, 2), n)
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.MaskWriteRegister, modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters:
		if len(pdu) < 3 {
			return name
		}
		return fmt.Sprintf("%s %d: done", modbus.FunctionName(pdu[0]), binary.BigEndian.Uint16(pdu[1:]))
	}
	return fmt.Sprintf("%s: % x", modbus.FunctionName(pdu[0]), pdu[1:])
}

func at(pdu []byte, i int) byte {
	if i >= len(pdu) {
		return 0
	}
	return pdu[i]
}

// shown is the maximum number of values listed.
const shown = 16

// registers lists the first of n registers, as far as there are bytes.
func registers(b []byte, n int) string {
	var all []string
	for i := 0; i < min(n, shown) && 2*i+1 < len(b); i++ {
		all = append(all, fmt.Sprint(binary.BigEndian.Uint16(b[2*i:])))
	}
	return more(all, n)
}

// bits lists the first of n bits.
func bits(b []byte, n int) string {
	var all []string
	for i := 0; i < min(n, shown) && i/8 < len(b); i++ {
		all = append(all, fmt.Sprint(b[i/8]>>(i%8)&1))
	}
	return more(all, n)
}

func more(all []string, n int) string {
	if len(all) < n {
		all = append(all, fmt.Sprintf("… %d more", n-len(all)))
	}
	return strings.Join(all, " ")
}
