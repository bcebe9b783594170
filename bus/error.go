package bus

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Codes of an Error: the Connect/gRPC names.
const (
	Canceled           = "canceled"
	InvalidArgument    = "invalid_argument"
	DeadlineExceeded   = "deadline_exceeded"
	NotFound           = "not_found"
	PermissionDenied   = "permission_denied"
	ResourceExhausted  = "resource_exhausted"
	FailedPrecondition = "failed_precondition"
	Aborted            = "aborted"
	Unimplemented      = "unimplemented"
	Internal           = "internal"
	Unavailable        = "unavailable"
)

// Messages of an Error for a call that got no answer. Any other message comes from an actor that
// did answer.
const (
	NoAnswer = "no answer in time"
	Nobody   = "no answer: the actor does not exist, is not running or has no such method"
)

// Error is a failure as it is sent: in the JSON body and in the headers Nats-Service-Error-Code and
// Nats-Service-Error of an answer.
type Error struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Details []Detail `json:"details,omitempty"`
}

// Detail is machine-readable information about a failure: a protobuf message, encoded as in the
// Connect protocol.
type Detail struct {
	Type  string          `json:"type"`            // full name of the message type
	Value string          `json:"value"`           // the message, base64 without padding
	Debug json.RawMessage `json:"debug,omitempty"` // the same as JSON
}

// With returns a copy of e with details appended.
func (e *Error) With(details ...proto.Message) *Error {
	with := *e
	with.Details = slices.Clone(e.Details)
	for _, m := range details {
		p, err := proto.Marshal(m)
		if err != nil {
			continue // the text of the error still says it
		}
		d := Detail{Type: string(m.ProtoReflect().Descriptor().FullName()), Value: base64.RawStdEncoding.EncodeToString(p)}
		d.Debug, _ = protojson.Marshal(m)
		with.Details = append(with.Details, d)
	}
	return &with
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is makes errors.Is work across the bus for context.DeadlineExceeded and context.Canceled.
func (e *Error) Is(target error) bool {
	return e.Code == DeadlineExceeded && target == context.DeadlineExceeded ||
		e.Code == Canceled && target == context.Canceled
}

// Errorf returns an Error with a formatted message.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError converts err to the Error that is sent. An error that wraps an *Error keeps its code and
// details, with the text of the whole chain. Deadlines, cancellations and permission violations get
// their codes; everything else is Internal.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		// The inner code name is dropped from the text: Code has it.
		return &Error{Code: e.Code, Message: strings.Replace(err.Error(), e.Error(), e.Message, 1), Details: e.Details}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return &Error{Code: DeadlineExceeded, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Message: err.Error()}
	case errors.Is(err, nats.ErrPermissionViolation):
		return &Error{Code: PermissionDenied, Message: err.Error()}
	}
	return &Error{Code: Internal, Message: err.Error()}
}

const (
	headerError     = "Nats-Service-Error"
	headerErrorCode = "Nats-Service-Error-Code"
)

// failure returns the message that carries e.
func (e *Error) failure(subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header[headerError] = []string{oneLine(e.Message)}
	m.Header[headerErrorCode] = []string{oneLine(e.Code)}
	m.Data, _ = json.Marshal(e)
	return m
}

// failed returns the Error that m carries, or nil. It also understands peers that know only the
// NATS micro headers (numeric codes of any kind).
func failed(m *nats.Msg) *Error {
	code, text := first(m.Header, headerErrorCode), first(m.Header, headerError)
	if code == "" && text == "" {
		return nil
	}
	e := &Error{}
	if json.Unmarshal(m.Data, e) == nil && e.Code != "" {
		return e
	}
	if code == "" {
		code = Internal
	}
	return &Error{Code: code, Message: text}
}

func first(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\r' || r == '\n' }), " ")
}
