package modbusunit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// command carries out a call.
func (u *unit) command(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case *modbusv1.ReadRegistersRequest:
		u.request(c, modbus.Request{Function: functions[m.Area], Address: uint16(m.Address), Quantity: uint16(m.Quantity)},
			func(c *actors.Context, r *dispatch.Result) {
				c.Reply(&modbusv1.ReadRegistersResponse{Values: registers(r)})
			})
	case *modbusv1.ReadBitsRequest:
		n := int(m.Quantity)
		u.request(c, modbus.Request{Function: functions[m.Area], Address: uint16(m.Address), Quantity: uint16(n)},
			func(c *actors.Context, r *dispatch.Result) { c.Reply(&modbusv1.ReadBitsResponse{Values: bits(r, n)}) })
	case *modbusv1.WriteRegistersRequest:
		u.writeRegisters(c, m)
	case *modbusv1.WriteCoilsRequest:
		u.writeCoils(c, m)
	case *modbusv1.WritePointRequest:
		u.writePoint(c, m)
	default:
		u.record(c, msg)
	}
}

// request sends one transaction for a caller. It calls done when the unit has confirmed it, and
// otherwise refuses the call.
func (u *unit) request(c *actors.Context, r modbus.Request, done then) {
	u.try(c, r, func(c *actors.Context, res *dispatch.Result) {
		if res.Err != nil {
			c.Refuse(u.refusal(r, res))
			return
		}
		done(c, res)
	})
}

// unhurried is the time for a call whose caller sets no deadline.
const unhurried = 10 * time.Second

// send sends one transaction, once, for a caller whom the firewall has allowed it. Its turn must
// come within wait; 0: within the caller's deadline.
func (u *unit) send(c *actors.Context, r modbus.Request, wait time.Duration, done then) {
	r.Unit = uint8(u.cfg.Unit)
	if err := r.Check(modbus.TCP); err != nil { // a limit of serial lines only is left to the line
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	left := unhurried
	if at, ok := c.Request().Deadline(); ok {
		left = time.Until(at)
	}
	// The answer must arrive, and the outcome of a write be reported, before the caller stops
	// waiting.
	left = left * 9 / 10
	timeout := min(u.cfg.Timeout.AsDuration(), left*2/3)
	turn := left - timeout
	if wait > 0 {
		turn = min(turn, wait)
	}
	class, rest := schedule.Interactive, u.cfg.Rest.AsDuration()
	if r.Write() {
		class, rest = schedule.Write, max(rest, u.cfg.RestAfterWrite.AsDuration())
	}
	c.Ask(u.cfg.Link, &dispatch.Ask{
		Class: class, Rest: rest, Expires: time.Now().Add(turn),
		Requests: []modbus.Request{r}, Timeouts: []time.Duration{timeout}, Tag: done,
	}, left)
}

// refusal returns the error for the caller of a transaction that has failed.
func (u *unit) refusal(r modbus.Request, res *dispatch.Result) error {
	var e *modbus.Exception
	var d *dispatch.Down
	unsure := ""
	if r.Write() && modbusdoor.MayBeDone(res) {
		unsure = ": the write may or may not have been carried out"
	}
	say := func(code, text string) error {
		detail := &modbusv1.Refusal{Unit: u.cfg.Unit, Unsure: unsure != ""}
		if e != nil {
			detail.Exception = uint32(e.Code)
		}
		return actors.Detailed(actors.Errorf(code, "unit %d: %s%s", u.cfg.Unit, text, unsure), detail)
	}
	switch {
	case errors.As(res.Err, &e):
		if e.Code != modbus.GatewayTarget {
			unsure = ""
		}
		return say(actors.FailedPrecondition, e.Error())
	case errors.As(res.Err, &d):
		return say(actors.Unavailable, d.Cause)
	case res.Busy():
		return say(actors.ResourceExhausted, "not sent: "+res.Err.Error())
	case errors.Is(res.Err, modbus.ErrOwed):
		return say(actors.DeadlineExceeded, "not sent: "+modbus.ErrOwed.Error())
	case modbus.NotSent(res.Err) && errors.Is(res.Err, modbus.ErrCorrupt):
		return say(actors.Unavailable, "not sent: the line is noisy")
	case modbus.NotSent(res.Err) && errors.Is(res.Err, modbus.ErrTimeout):
		return say(actors.DeadlineExceeded, "not sent: the line was busy for too long")
	case res.Outcome == schedule.NoAnswer && !modbus.LinkLost(res.Err), errors.Is(res.Err, context.DeadlineExceeded):
		return say(actors.DeadlineExceeded, waited(res.Err))
	case unsure != "" && res.Outcome == schedule.NotSent: // the link itself has ended or failed
		return say(actors.Unavailable, res.Err.Error())
	case res.Unsure() && res.Outcome != schedule.NotSent:
		return say(actors.Unavailable, res.Cause())
	}
	return fmt.Errorf("unit %d: not sent: %w", u.cfg.Unit, res.Err)
}

// waited says how long the unit had for its answer, unless the caller's deadline came first.
func waited(err error) string {
	if text, own := strings.CutSuffix(err.Error(), ": "+os.ErrDeadlineExceeded.Error()); own && errors.Is(err, modbus.ErrTimeout) {
		return text[strings.LastIndex(text, modbus.ErrTimeout.Error()):]
	}
	return actors.NoAnswer
}

func registers(r *dispatch.Result) []uint32 {
	values := make([]uint32, len(r.Data)/2)
	for i := range values {
		values[i] = uint32(binary.BigEndian.Uint16(r.Data[2*i:]))
	}
	return values
}

func bits(r *dispatch.Result, n int) []bool {
	values := make([]bool, n)
	for i := range values {
		values[i] = r.Bit(i)
	}
	return values
}
