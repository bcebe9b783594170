// Package uplink is the common part of all protocols that send records to a far end: the interface
// that a protocol implements, and the pure decisions about what is sent: which fields (Table), how
// much (Limits, Spent), in what portions (Pace), and when (Hours). It knows no bus, no actor and no
// protocol.
package uplink

import (
	"context"
	"fmt"

	"gatewayd/protocols/record"
)

// A Sender is a connection to a far end, or its equivalent. Only one Send runs at a time; Close may
// be called from any goroutine.
type Sender interface {
	// Send sends a batch and returns when the far end has acknowledged all of it. A *RejectedError
	// error names records that the far end will never accept. Any other error means that the
	// connection is over and, unless it is a *PartialError, nothing of the batch is confirmed: it
	// will be sent again, and the far end may see duplicates.
	Send(ctx context.Context, batch []record.Record) error
	Close() error
}

// A Metered is a Sender that counts the bytes on its connection, including protocol overhead.
type Metered interface {
	Traffic() (sent, received uint64)
}

// A RetryAfterError is an error by which the far end says when to try again; the connection is
// closed until then.
type RetryAfterError interface {
	error
	RetryAfter() (seconds int)
}

// DeadlineError is a context.DeadlineExceeded that says what did not arrive in time.
type DeadlineError struct{ What string }

func (l *DeadlineError) Error() string { return l.What }
func (l *DeadlineError) Unwrap() error { return context.DeadlineExceeded }

// Dial makes a connection. It returns when records can be sent, or with the reason why not, at the
// latest when ctx ends.
type Dial func(ctx context.Context, hear Callbacks) (Sender, error)

// Callbacks has the callbacks for events from the far end. The functions are never nil; they may be
// called from any goroutine and do not block.
type Callbacks struct {
	Lost    func(err error)   // the connection has ended by itself; at most once
	Command func(cmd Command) // the far end sends a command
	Waiting func(why string)  // the attempt to connect is waiting, and for what
}

// A Command is a call requested by the far end.
type Command struct {
	Actor       string // path, e.g. "field/plc/mixer"
	Method      string // e.g. "WriteRegisters"
	ContentType string // empty: application/json
	Payload     []byte // the request message; empty is the empty message

	// Answer sends the outcome to the far end: an answer of the method as JSON, or why there is
	// none. It is called exactly once, from any goroutine, and does not block. nil: the far end
	// wants no answer.
	Answer func(payload []byte, err error)
}

// RejectedError is the error if the far end will never accept some records of a batch.
type RejectedError struct {
	// In ascending order of Index; none: at least one of the batch, and the far end does not say
	// which.
	Records []Refusal
	// Taken means that the far end has acknowledged all other records of the batch, otherwise none
	// of them. It has no meaning without Records.
	Taken bool
	Why   string // for the batch as a whole
}

// PartialError is the error if the first records of a batch were acknowledged before the connection
// ended; the outcome of the others is unknown.
type PartialError struct {
	Taken int
	Err   error
}

func (p *PartialError) Error() string { return p.Err.Error() }
func (p *PartialError) Unwrap() error { return p.Err }

// A Refusal is one record that the far end will never accept.
type Refusal struct {
	Index int // in the batch
	Why   string
}

func (r *RejectedError) Error() string {
	switch len(r.Records) {
	case 0:
		return "rejected: " + r.Why
	case 1:
		return fmt.Sprintf("record %d rejected: %s", r.Records[0].Index, r.Records[0].Why)
	}
	return fmt.Sprintf("%d records rejected, the first: %s", len(r.Records), r.Records[0].Why)
}
