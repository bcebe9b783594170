package actors

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Codes of an error as the caller sees it, for Errorf.
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

// NoAnswer is the error text of a call that was not answered in time.
const NoAnswer = bus.NoAnswer

// Errorf returns an error with one of the codes, for Refuse. It reaches the caller unchanged,
// through every door.
func Errorf(code, format string, args ...any) error { return bus.Errorf(code, format, args...) }

// Detailed adds machine-readable details to err. They reach the caller through every door.
func Detailed(err error, details ...proto.Message) error { return bus.AsError(err).With(details...) }

// Failure returns err as JSON, with its code, text and details, as a caller gets it.
func Failure(err error) []byte {
	p, _ := json.Marshal(bus.AsError(err)) // texts can always be marshalled
	return p
}

// Details returns the machine-readable details of err; nil: it has none.
func Details(err error) []bus.Detail { return bus.AsError(err).Details }

// Explain returns the code of err, one of the Connect/gRPC names like "not_found", and its text, as
// a caller gets them.
func Explain(err error) (code, text string) {
	e := bus.AsError(err)
	return e.Code, e.Message
}
