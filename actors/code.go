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

// NoAnswer is what a caller is told who has not waited for long enough.
const NoAnswer = bus.NoAnswer

// Errorf is an error with one of the codes, for Refuse: it reaches the caller,
// through every door, as it is.
func Errorf(code, format string, args ...any) error { return bus.Errorf(code, format, args...) }

// Detailed is err with details that a program can go by; they reach the caller through every door.
func Detailed(err error, details ...proto.Message) error { return bus.AsError(err).With(details...) }

// Failure is err as it travels: JSON with its code, its text and its details.
func Failure(err error) []byte {
	p, _ := json.Marshal(bus.AsError(err)) // texts always marshal
	return p
}

// Details are those of err.
func Details(err error) []bus.Detail { return bus.AsError(err).Details }

// Explain is err as it travels: its code, one of the Connect/gRPC names like
// "not_found", and its text.
func Explain(err error) (code, text string) {
	e := bus.AsError(err)
	return e.Code, e.Message
}
