// Package actors is the contract between the gateway and its actor types.
//
// An actor type is one folder below this one. It exports a single Kind;
// cmd/gatewayd/kinds.go lists it. It imports this package, schemas and the
// protocols it speaks, and nothing else of ours: it never sees NATS or
// protoactor, never sees another actor type and never starts a goroutine of
// its own. Everything around that (decoding and checking commands, health,
// timers, workers with deadlines, admission, fencing of lives that are over,
// recovery from panics in every lifecycle message) is done here, once.
package actors

import (
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// An Actor handles one message at a time and never blocks in it. Nil means
// handled. An error is a failure: this life ends, and the supervisor decides
// what happens next. See Wedged and Broken for errors that say more.
//
// Besides Started, Stopped, Reconfigured, Delivery, Failed and its own ticks
// and posts it receives the request messages of the services its Kind declares
// and whatever peers send it with Ask.
type Actor interface {
	Receive(c *Context, msg any) error
}

// Messages any actor may receive besides its own.
type (
	// Started is the first message of each life.
	Started struct{}

	// Stopped is the last message of each life: release what it took.
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
		Kept        bool // from Last: as it was kept, not as it is said now

		loan *bus.Loan // nil: the payload is the receiver's own
	}

	// Failed is what comes instead of an answer to Ask, of the result of Do, or of
	// the end of Last.
	Failed struct {
		Of  any // what was asked, or what was to come at the end; nil for Do
		Err error
	}

	// Called is the outcome of a Call; of a streaming method one answer, or the end.
	Called struct {
		Tag         any // as given to Call
		ContentType string
		Payload     []byte // nil at the end of a stream
		Err         error  // see Explain
		Stream      bool   // of a streaming method
		More        bool   // something follows
	}

	// Inject is a fault that a drill puts into an actor whose Kind declares
	// it. The actor answers with c.Reply(nil) or Refuse.
	Inject struct {
		Fault string  // "corrupt", "unplug" or "plug"
		Rate  float64 // share of bytes, for corrupt; 0 ends it
	}
)

// Done says that the payload is not needed any more. Who says so holds none of it; who does not may keep it.
func (d Delivery) Done() { d.loan.Done() }

// Wedged marks an error after which a plain restart will not help: what the
// actor owns is stuck. The supervisor starts at the power cycle.
func Wedged(err error) error { return &marked{err, LevelCycle} }

// Broken marks an error that no restart can cure: the config can never work.
// The actor stays down until its config changes.
func Broken(err error) error { return &marked{err, LevelBroken} }

// Level is how hard a failure asks to be hit, at least.
type Level uint8

// Levels a failure can ask for.
const (
	LevelRestart Level = iota // a new life may help
	LevelCycle                // a new life alone will not
	LevelBroken               // nothing but another config will
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
