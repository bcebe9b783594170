package modbusmqtt

import (
	"context"
	"errors"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	"gatewayd/protocols/teltonika"
)

// answer returns the response line for the result of a unit.
func answer(q teltonika.Request, r *dispatch.Result) []byte {
	var e *modbus.Exception
	var d *dispatch.Down
	switch {
	case r.Err == nil:
		return q.OK(r.Data)
	case errors.As(r.Err, &e):
		return q.Error(teltonika.Exception(e.Code))
	case errors.As(r.Err, &d):
		return q.Error(down(d.Cause))
	case r.Busy():
		return q.Error(teltonika.Exception(modbus.DeviceBusy))
	case errors.Is(r.Err, modbus.ErrCorrupt):
		return q.Error(teltonika.BadCRC)
	case errors.Is(r.Err, modbus.ErrMismatch):
		return q.Error(teltonika.BadData)
	case errors.Is(r.Err, modbus.ErrTimeout):
		return q.Error(teltonika.TimedOut)
	case modbus.LinkLost(r.Err):
		return q.Error(teltonika.Lost)
	case r.Outcome == schedule.NoAnswer:
		return q.Error(teltonika.TimedOut)
	}
	return q.Error(reason(r.Err))
}

// down returns the C library's text for the reason that a link is down.
func down(cause string) string {
	for _, x := range []struct{ part, text string }{
		{"connection refused", teltonika.Refused}, {"no route to host", teltonika.NoRoute}, {"timeout", teltonika.TimedOut},
		{"timed out", teltonika.TimedOut}, {"reset", teltonika.Lost},
	} {
		if strings.Contains(cause, x.part) {
			return x.text
		}
	}
	return teltonika.NoPath
}

// reason returns the text for a request that the actor of the unit refused or could not send.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return teltonika.TimedOut
	}
	switch code, _ := actors.Explain(err); code {
	case actors.PermissionDenied:
		return teltonika.Blocked
	case actors.InvalidArgument:
		return teltonika.Invalid
	case actors.ResourceExhausted:
		return teltonika.TooMany
	case actors.NotFound, actors.Unavailable, actors.Aborted:
		return teltonika.NoPath
	}
	return teltonika.Unknown
}
