package modbusdoor

import (
	"encoding/binary"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/explain"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// audited starts the audit record of a write.
func audited(who actors.Caller, r modbus.Request) *modbusv1.Audited {
	m := &modbusv1.Audited{Caller: who.Identity, Trace: who.Trace, Function: uint32(r.Function), Address: proto.Uint32(uint32(r.Address)), Values: writtenValues(r)}
	if m.Trace == "" {
		m.Trace = actors.NewTrace()
	}
	if r.Function == modbus.ReadWriteMultipleRegisters {
		m.Address = proto.Uint32(uint32(r.WriteAddress))
	}
	return m
}

// tell completes the audit record of a write and publishes it, once.
func (g *Gate) tell(c *actors.Context, a *Attempt, outcome, cause string) {
	if _, open := g.writes[a]; !open {
		return
	}
	delete(g.writes, a)
	a.audit.Outcome, a.audit.Cause = outcome, cause
	a.audit.Time, a.audit.Took = timestamppb.Now(), durationpb.New(time.Since(a.began).Round(time.Microsecond))
	if outcome == "failed" || outcome == "unsure" {
		x := explain.Last(g.Tap)
		a.audit.Framing, a.audit.Frames = x.Framing, x.Lines
	}
	a.request.OwnEvent()
	c.Event("audited", a.audit)
}

// outcomeOf returns the audit's word for the outcome of a write, and the cause.
func outcomeOf(r *dispatch.Result) (outcome, cause string) {
	var e *modbus.Exception
	switch {
	case r.Err == nil:
		return "done", ""
	case errors.As(r.Err, &e) && e.Code != modbus.GatewayTarget:
		outcome = "refused"
	case MayBeDone(r):
		outcome = "unsure"
	default:
		outcome = "failed"
	}
	return outcome, r.Cause()
}

// MayBeDone reports whether it is unknown if the unit has carried out the request. A link that does
// not exist or accepts no more requests has sent nothing.
func MayBeDone(r *dispatch.Result) bool {
	code, _ := actors.Explain(r.Err)
	return r.Unsure() && code != actors.NotFound && code != actors.ResourceExhausted
}

// writtenValues returns what a request writes: one number for each register or coil.
func writtenValues(r modbus.Request) []uint32 {
	switch r.Function {
	case modbus.WriteSingleCoil: // FF 00 or 00 00
		return bitValues(r.Data, 1)
	case modbus.WriteMultipleCoils:
		return bitValues(r.Data, int(r.Quantity))
	}
	return words(r.Data)
}

func words(data []byte) []uint32 {
	values := make([]uint32, len(data)/2)
	for i := range values {
		values[i] = uint32(binary.BigEndian.Uint16(data[2*i:]))
	}
	return values
}

func bitValues(data []byte, n int) []uint32 {
	values := make([]uint32, min(n, 8*len(data)))
	for i := range values {
		values[i] = uint32(data[i/8] >> (i % 8) & 1)
	}
	return values
}

// readBack returns the request that reads what r writes; false if there is none.
func readBack(r modbus.Request) (modbus.Request, bool) {
	back := modbus.Request{Unit: r.Unit, Timeout: r.Timeout, Function: modbus.ReadHoldingRegisters, Address: r.Address, Quantity: max(r.Quantity, 1)}
	switch r.Function {
	case modbus.WriteSingleCoil, modbus.WriteMultipleCoils:
		back.Function = modbus.ReadCoils
	case modbus.WriteSingleRegister, modbus.WriteMultipleRegisters, modbus.MaskWriteRegister:
	case modbus.ReadWriteMultipleRegisters:
		back.Address, back.Quantity = r.WriteAddress, uint16(len(r.Data)/2)
	default:
		return back, false
	}
	return back, true
}

func readValues(read modbus.Request, r *dispatch.Result) []uint32 {
	if read.Function == modbus.ReadCoils {
		return bitValues(r.Data, int(read.Quantity))
	}
	return words(r.Data)
}

// expected returns the values that must read back after a write.
func expected(a *modbusv1.Audited) []uint32 {
	if uint8(a.Function) != modbus.MaskWriteRegister {
		return a.Values
	}
	and, or := a.Values[0], a.Values[1] // Application Protocol V1.1b3 §6.16
	return []uint32{a.Before[0]&and | or&^and}
}
