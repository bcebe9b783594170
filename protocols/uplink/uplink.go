// Package uplink is what all ways of sending records to a far end have in common: the interface that a protocol implements, and the
// pure decisions around it: which fields go (Table), how much may be spent (Budget), in what portions (Pace), when (Hours). It
// knows no bus, no actor and no protocol.
package uplink

import (
	"context"
	"fmt"

	"gatewayd/protocols/record"
)

// A Sender is one connection to a far end, or what stands for it. There is one Send at a time; Close may come from any goroutine.
type Sender interface {
	// Send hands a batch to the far end and returns when the far end has acknowledged all of it. A *Rejected error tells of records
	// that the far end will never take. Any other error means that the connection is over and nothing of the batch is confirmed: it
	// will be sent again, which the far end may see as duplicates.
	Send(ctx context.Context, batch []record.Record) error
	Close() error
}

// A Metered is a Sender that counts what has passed its connection, in bytes, with all that the protocol adds.
type Metered interface {
	Traffic() (sent, received uint64)
}

// A Later is an error by which the far end says when it wants to be tried again; the connection is over until then.
type Later interface {
	error
	RetryAfter() (seconds int)
}

// Late is a context.DeadlineExceeded that says what did not come in time.
type Late struct{ What string }

func (l *Late) Error() string { return l.What }
func (l *Late) Unwrap() error { return context.DeadlineExceeded }

// Dial makes a connection. It returns when the far end can be sent to, or with the reason why not, at the latest when ctx ends.
type Dial func(ctx context.Context, hear Hear) (Sender, error)

// Hear is how what comes back from a far end is told. The functions are never nil, may be called from any goroutine and do not block.
type Hear struct {
	Lost    func(err error)   // the connection has ended by itself; at most once
	Command func(cmd Command) // the far end wants something done
	Waits   func(why string)  // the attempt to connect goes on, and what it waits for, in words
}

// A Command is something that the far end wants done.
type Command struct {
	Actor       string // path, e.g. "field/plc/mixer"
	Method      string // e.g. "WriteRegisters"
	ContentType string // empty: application/json
	Payload     []byte // the request message; empty is the empty message

	// Answer tells the far end the outcome: an answer of the method as JSON, or why there is none. It is called exactly once, from
	// any goroutine, and does not block. nil: the far end does not want to know.
	Answer func(payload []byte, err error)
}

// Rejected says that the far end will never take some records of a batch.
type Rejected struct {
	Records []Refusal // which, in rising order of Index; none: one or more of the batch, and the far end does not say which
	// Taken says that the far end has acknowledged all other records of the batch; else none of them. Without Records it has no
	// meaning.
	Taken bool
	Why   string // of the batch as a whole
}

// Partial says that the first records of a batch were acknowledged before the connection ended; of the others nothing is known.
type Partial struct {
	Taken int
	Err   error
}

func (p *Partial) Error() string { return p.Err.Error() }
func (p *Partial) Unwrap() error { return p.Err }

// A Refusal is one record that the far end will never take.
type Refusal struct {
	Index int // in the batch
	Why   string
}

func (r *Rejected) Error() string {
	switch len(r.Records) {
	case 0:
		return "rejected: " + r.Why
	case 1:
		return fmt.Sprintf("record %d rejected: %s", r.Records[0].Index, r.Records[0].Why)
	}
	return fmt.Sprintf("%d records rejected, the first: %s", len(r.Records), r.Records[0].Why)
}
