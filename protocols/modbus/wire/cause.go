package wire

import (
	"errors"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// NotSent is the error of a request that was not sent at all.
func NotSent(why string) error { return &unsent{why: why} }

// Cause says in few words why a request that has an error brought nothing.
func (r *Result) Cause() string {
	var e *modbus.Exception
	var d *Down
	switch {
	case errors.As(r.Err, &e):
		return e.Error()
	case errors.As(r.Err, &d):
		return d.Cause
	case r.Outcome == schedule.Garbled && errors.Is(r.Err, modbus.ErrMisfit):
		return modbus.ErrMisfit.Error()
	case r.Outcome == schedule.Garbled && errors.Is(r.Err, modbus.ErrMismatch):
		return "answer to something else"
	case r.Outcome == schedule.Garbled:
		return "corrupt answer"
	case modbus.LinkLost(r.Err):
		return "connection lost"
	case errors.Is(r.Err, modbus.ErrTimeout):
		return "timeout"
	}
	return r.Err.Error()
}
