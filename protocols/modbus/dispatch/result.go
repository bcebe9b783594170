package dispatch

import (
	"errors"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/schedule"
)

// Result is how one request ended.
type Result struct {
	modbus.Response
	Err     error // nil, *modbus.Exception, *Down, or an error of package modbus
	Outcome schedule.Outcome
	Took    time.Duration // from the end of the request on the wire to the beginning of the answer
	At      time.Time     // when it ended
}

// Unsure reports whether the outcome of the request is unknown: it may have been sent, and neither
// an answer nor an exception was received. A write that is Unsure may have been carried out.
func (r *Result) Unsure() bool {
	return r.Err != nil && r.Outcome != schedule.Exception && !r.unsent()
}

func (r *Result) unsent() bool {
	var down *Down
	var dropped *unsent
	return errors.As(r.Err, &down) || errors.As(r.Err, &dropped) || modbus.NotSent(r.Err)
}

// Busy reports whether the request was not sent because the link was too busy.
func (r *Result) Busy() bool { return errors.Is(r.Err, errExpired) || errors.Is(r.Err, errFull) }

// Down is the error of requests on a line or link that cannot send, for instance because the line
// is unplugged or the connection refused.
type Down struct{ Cause string }

func (d *Down) Error() string { return d.Cause }

// unsent is the error of a request that the Dispatcher did not send.
type unsent struct {
	why   string
	cause error
}

func (u *unsent) Error() string { return u.why }
func (u *unsent) Unwrap() error { return u.cause }

var (
	errGivenUp  = &unsent{why: "no answer to earlier requests"}
	errReplaced = &unsent{why: "replaced by a newer request"}
	errExpired  = &unsent{why: "the line was busy for too long"}
	errFull     = &unsent{why: "too many requests are waiting"}
)

// outcome classifies an error of modbus.Link.Do.
func outcome(err error) schedule.Outcome {
	if err == nil {
		return schedule.Answered
	}
	var e *modbus.Exception
	switch {
	case errors.As(err, &e):
		if e.Code == modbus.GatewayPath || e.Code == modbus.GatewayTarget {
			return schedule.NoAnswer
		}
		return schedule.Exception
	case modbus.NotSent(err):
		return schedule.NotSent
	case errors.Is(err, modbus.ErrCorrupt), errors.Is(err, modbus.ErrMismatch):
		return schedule.Garbled
	case errors.Is(err, modbus.ErrTimeout), modbus.LinkLost(err):
		return schedule.NoAnswer
	}
	return schedule.NotSent
}

// NotSent returns an error that, as a Result.Err, says that the request was not sent.
func NotSent(why string) error { return &unsent{why: why} }

// Cause returns a short reason for the failure, as used for the cause of a sample, for instance
// "timeout". Err must not be nil.
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
