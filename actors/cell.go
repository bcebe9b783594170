package actors

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Cell is what an actor keeps from life to life: its name, its config, its place in the directory,
// its counters and its health. It belongs to the supervisor of the actor. All methods are safe for
// concurrent use.
type Cell struct {
	sys  *System
	path string
	kind *Kind
	meth map[string]method

	came   time.Duration // when the cell was made, since the system's epoch
	about  string        // what the actor stands for, for display, if its name does not say it
	parent *life         // of the actor that has spawned this one; nil: it belongs to a supervisor

	config  atomic.Pointer[proto.Message]
	pid     atomic.Pointer[actor.PID]
	life    atomic.Pointer[life]
	lives   atomic.Uint32
	waiting atomic.Int32
	queue   queue
	closed  atomic.Pointer[string] // why messages are refused; nil: they are accepted
	drill   atomic.Pointer[drill]
	steer   atomic.Pointer[func(Steer)]

	worked  atomic.Int64 // time of the last OK, ns since the system's epoch; 0: never
	handled atomic.Uint64
	served  atomic.Uint64 // messages handled, probes included
	shed    atomic.Uint64
	missed  atomic.Uint64
	failed  atomic.Uint64
	left    atomic.Uint64 // workers that were left behind

	onHealth atomic.Pointer[func()]

	mu     sync.Mutex
	health health
	called map[string]*MethodStats // by method; nil until the first call
	healed map[string]uint64       // by level; nil until a supervisor acts on it
}

// NewCell enters an actor of kind k at path into the directory. It fails if an actor has that path
// already. The actor has no life yet: the supervisor spawns its Props.
func (s *System) NewCell(path string, k *Kind, config proto.Message) (*Cell, error) {
	c := &Cell{sys: s, path: path, kind: k, meth: k.meth(), came: time.Since(s.epoch), health: health{state: Gone}}
	c.config.Store(&config)
	return c, s.add(c)
}

// Path returns the actor's name.
func (c *Cell) Path() string { return c.path }

// Token returns the last part of the name.
func (c *Cell) Token() string { return c.path[strings.LastIndexByte(c.path, '/')+1:] }

// Since returns when the actor was entered into the directory, computed from the present wall
// clock. Its counters start there.
func (c *Cell) Since() time.Time { return time.Now().Add(c.came - time.Since(c.sys.epoch)) }

// Kind returns the actor's kind.
func (c *Cell) Kind() *Kind { return c.kind }

// Config returns the config of the next life. It is that of the present one too, unless a
// Reconfigured is still under way.
func (c *Cell) Config() proto.Message { return *c.config.Load() }

// SetConfig changes the config for the next life.
func (c *Cell) SetConfig(m proto.Message) { c.config.Store(&m) }

// Life returns the number of lives that have begun.
func (c *Cell) Life() uint32 { return c.lives.Load() }

// PID returns the present PID in protoactor; nil before the first life.
func (c *Cell) PID() *actor.PID { return c.pid.Load() }

// Prepare is called before the actor is spawned again. Requests waiting in its old mailbox are
// answered with an error.
func (c *Cell) Prepare() {
	c.pid.Store(nil)
	c.waiting.Store(0)
	c.queue.empty(false, c.path, "it was stopped")
	c.closed.Store(nil)
}

// Bind sets the PID under which the actor was spawned. It is called after Prepare; from then on
// messages are accepted.
func (c *Cell) Bind(pid *actor.PID) { c.pid.Store(pid) }

// Remove takes the actor out of the directory and its states off the bus. The bus deletes a state
// when an empty one is published.
func (c *Cell) Remove() {
	c.Close("stopped")
	c.queue.empty(true, c.path, "stopped")
	if !c.sys.remove(c) {
		return // it was removed before, and another actor may have the path by now
	}
	c.sys.calls.setAuthorizer(c.path, nil)
	c.forget("health")
	for _, l := range c.kind.Publishes {
		if l.Class == bus.State && l.Leaf != "*" {
			c.forget(l.Leaf)
		}
	}
}

func (c *Cell) forget(leaf string) {
	if err := c.sys.Bus.PublishRaw(c.subject(bus.State, leaf), bus.JSON, nil); err != nil {
		c.log().Debug("state not removed from the bus", "leaf", leaf, "err", err)
	}
}

// Props returns protoactor's description of the actor, for a supervisor to spawn.
func (c *Cell) Props() *actor.Props {
	return c.sys.Props(func() actor.Actor { return &life{cell: c} })
}

// Fence abandons the present life, whose goroutine may be stuck for ever. Whatever that life still
// publishes or answers is dropped, and what it owns is closed.
func (c *Cell) Fence() {
	if l := c.life.Load(); l != nil {
		l.fence()
	}
	c.queue.empty(true, c.path, "it hung and was abandoned")
}

// Worked returns the time since the last proof of work, see Context.Worked; ok is false if there
// was none.
func (c *Cell) Worked() (ago time.Duration, ok bool) {
	at := c.worked.Load()
	if at == 0 {
		return 0, false
	}
	return time.Since(c.sys.epoch) - time.Duration(at), true
}

// Served counts the messages handled, probes included. While it grows the actor does not hang.
func (c *Cell) Served() uint64 { return c.served.Load() }

// Event publishes on an event subject of the actor.
func (c *Cell) Event(leaf string, m proto.Message) {
	if err := c.sys.Bus.Publish(c.subject(bus.Event, leaf), m); err != nil {
		c.log().Warn("event not published", "leaf", leaf, "err", err)
	}
}

// Counters returns the counters of the actor, over all its lives.
func (c *Cell) Counters() *actorv1.Counters {
	return &actorv1.Counters{
		Failures: c.failed.Load(), Handled: c.handled.Load(), Shed: c.shed.Load(),
		MissedTicks: c.missed.Load(), Abandoned: c.left.Load(), Waiting: uint32(max(0, c.waiting.Load())),
	}
}

func (c *Cell) subject(class bus.Class, leaf string) string {
	return bus.Subject(c.sys.Gateway, class, c.path, leaf)
}

func (c *Cell) dir() string {
	if c.sys.Dir == "" {
		return ""
	}
	return filepath.Join(c.sys.Dir, filepath.FromSlash(c.path))
}

func (c *Cell) log() *slog.Logger { return c.sys.Log.With("actor", c.path) }

// Begin counts a life of a group. A group is an actor of package supervisor, not an Actor.
func (c *Cell) Begin() { c.lives.Add(1) }

// Reconfigure gives the running life a new config, as Reconfigured. It is for kinds with Live.
func (c *Cell) Reconfigure(m proto.Message) {
	c.SetConfig(m)
	c.post(reconfigure{m})
}
