package actors

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Codes of an error as its caller sees it, for Errorf.
const (
	InvalidArgument    = bus.InvalidArgument
	DeadlineExceeded   = bus.DeadlineExceeded
	NotFound           = bus.NotFound
	PermissionDenied   = bus.PermissionDenied
	ResourceExhausted  = bus.ResourceExhausted
	FailedPrecondition = bus.FailedPrecondition
	Aborted            = bus.Aborted
	Unavailable        = bus.Unavailable
	Unimplemented      = bus.Unimplemented
)

// NoAnswer is the text of the error of a call that was not answered in time.
const NoAnswer = bus.NoAnswer

// Errorf is an error with one of the codes, for Refuse: it reaches the caller,
// through every door, as it is.
func Errorf(code, format string, args ...any) error { return bus.Errorf(code, format, args...) }

// Detailed adds machine-readable details to err; they reach the caller through every door.
func Detailed(err error, details ...proto.Message) error { return bus.AsError(err).With(details...) }

// Failure is err as JSON, with its code, text and details, as a caller gets it.
func Failure(err error) []byte {
	p, _ := json.Marshal(bus.AsError(err)) // texts always marshal
	return p
}

// Details are the machine-readable details of err; nil: it has none.
func Details(err error) []bus.Detail { return bus.AsError(err).Details }

// Explain is the code of err, one of the Connect/gRPC names like "not_found", and its text, as a caller gets them.
func Explain(err error) (code, text string) {
	e := bus.AsError(err)
	return e.Code, e.Message
}
