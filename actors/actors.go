// Package actors is the contract between the gateway and its actor types.
//
// An actor type is one folder below this one. It exports a single Kind, which cmd/gatewayd/kinds.go
// lists. It imports this package, schemas, the protocols it speaks and packages that several kinds
// share, and nothing else of this repository: it never sees NATS, protoactor or another actor type,
// and never starts a goroutine of its own. Everything else is done here, once: decoding and
// checking commands, health, timers, workers with deadlines, admission, fencing of lives that are
// over, and recovery from panics in every lifecycle message.
//
// A life is one run of an actor, from Started to Stopped, with an Actor value of its own. After a
// failure the supervisor starts the next life of the same actor; its name, its counters and what it
// keeps on disk remain. The results of workers, timers and requests of a life that is over are
// dropped.
package actors

import (
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// An Actor handles one message at a time and never blocks in Receive. It returns nil if it has
// handled the message or does not know it. An error is a failure of the actor: this life ends, and
// the supervisor decides what happens next. See Wedged and Broken for errors that need more than a
// restart. A mistake of the caller is no failure: see Context.Refuse.
//
// It receives the types below, the request messages of the services that its Kind declares,
// messages that peers send with Ask and Tell, the messages of its own timers and posts, and the
// results of Ask, Do and Call.
type Actor interface {
	Receive(c *Context, msg any) error
}

// Messages any actor may receive besides its own.
type (
	// Started is the first message of each life.
	Started struct{}

	// Stopped is the last message of each life. The actor releases what it has acquired since
	// Started; what was given to Context.Own is closed afterwards.
	Stopped struct{}

	// Reconfigured says that the config has changed under a running life. Only
	// kinds with Live set receive it; the others get a new life instead.
	Reconfigured struct{ Config proto.Message }

	// Delivery is a message on a pattern the actor has subscribed to. Topic is
	// the subject as an MQTT topic: data/field/rs485-1/meter-7/points.
	Delivery struct {
		Topic       string
		ContentType string
		Payload     []byte
		Kept        bool // a stored state that Last has fetched, not a message published now

		buffer *bus.SharedBuffer // nil: the payload is the receiver's own
	}

	// Failed comes in place of the answer to an Ask, the result of a Do, or the end of a Last.
	Failed struct {
		Of  any // the message given to Ask, or the end given to Last; nil for Do
		Err error
	}

	// Called is the outcome of a Call. A streaming method gives one for each
	// answer and one for the end.
	Called struct {
		Tag         any // as given to Call
		ContentType string
		Payload     []byte // nil at the end of a stream
		Err         error  // see Explain
		Stream      bool   // of a streaming method
		More        bool   // further Called follow
	}

	// Inject is a fault that a drill injects into an actor whose Kind declares it. The actor
	// answers with c.Reply(nil) or Refuse.
	Inject struct {
		Fault string  // "corrupt", "unplug" or "plug"
		Rate  float64 // share of bytes, for corrupt; 0 ends it
	}
)

// Done releases the memory of the payload for other messages; the payload must not be used
// afterwards. Calling it is optional: a receiver that does not may keep the payload for as long as
// it likes.
func (d Delivery) Done() { d.buffer.Done() }

// Wedged marks an error that a plain restart will not cure: what the actor owns is stuck. The
// supervisor starts with a power cycle.
func Wedged(err error) error { return &marked{err, LevelCycle} }

// Broken marks an error that no restart can cure: the config can never work.
// The actor stays down until its config changes.
func Broken(err error) error { return &marked{err, LevelBroken} }

// Level is the least that can help after a failure.
type Level uint8

// Levels a failure can ask for.
const (
	LevelRestart Level = iota // a new life may help
	LevelCycle                // only a power cycle may help
	LevelBroken               // only another config can help
)

type marked struct {
	err   error
	level Level
}

func (m *marked) Error() string { return m.err.Error() }
func (m *marked) Unwrap() error { return m.err }

// Fault is the failure of one life, as its supervisor sees it.
type Fault struct {
	Path  string
	Life  uint32 // which life failed
	Level Level
	Err   error
	Stack []byte // of a panic; nil for a returned error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

// newFault classifies an error returned or a value recovered.
func newFault(path string, life uint32, r any) *Fault {
	switch r := r.(type) {
	case *Fault:
		return r
	case returned:
		f := &Fault{Path: path, Life: life, Err: r.error}
		var m *marked
		if errors.As(r.error, &m) {
			f.Level = m.level
		}
		return f
	default:
		return &Fault{Path: path, Life: life, Err: fmt.Errorf("panic: %v", r), Stack: debug.Stack()}
	}
}

// returned tells an error that Receive returned from one it panicked with.
type returned struct{ error }
