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

// Cell is what an actor keeps from life to life: its name, its config, its
// place in the directory, its counters and its health. It belongs to the
// supervisor of the actor. All methods are safe for concurrent use.
type Cell struct {
	sys  *System
	path string
	kind *Kind
	meth map[string]method

	came   time.Duration // when it was made, since the system's epoch
	about  string        // for people: what it stands for, if its name does not say that
	parent *life         // of the actor that has spawned it; nil: it belongs to a supervisor

	config  atomic.Pointer[proto.Message]
	pid     atomic.Pointer[actor.PID]
	life    atomic.Pointer[life]
	lives   atomic.Uint32
	waiting atomic.Int32
	queue   queue
	closed  atomic.Pointer[string] // why messages are refused; nil: they are not
	drill   atomic.Pointer[drill]
	steer   atomic.Pointer[func(Steer)]

	worked  atomic.Int64 // time of the last OK, ns since the system's epoch; 0: never
	handled atomic.Uint64
	served  atomic.Uint64 // messages dealt with, probes included
	shed    atomic.Uint64
	missed  atomic.Uint64
	failed  atomic.Uint64
	left    atomic.Uint64 // workers left behind

	onHealth atomic.Pointer[func()]

	mu     sync.Mutex
	health health
	called map[string]*MethodStats // by method; nil until the first call
	healed map[string]uint64       // by level; nil until a supervisor acts on it
}

// NewCell enters an actor of kind k at path into the directory, in which nobody may have that path. It has no life
// yet: the supervisor spawns its Props.
func (s *System) NewCell(path string, k *Kind, config proto.Message) (*Cell, error) {
	c := &Cell{sys: s, path: path, kind: k, meth: k.meth(), came: time.Since(s.epoch), health: health{state: Gone}}
	c.config.Store(&config)
	return c, s.add(c)
}

// Path is the actor's name.
func (c *Cell) Path() string { return c.path }

// Token is the last part of the name.
func (c *Cell) Token() string { return c.path[strings.LastIndexByte(c.path, '/')+1:] }

// Since is when it was entered into the directory, computed from the present wall clock. Its counters begin there.
func (c *Cell) Since() time.Time { return time.Now().Add(c.came - time.Since(c.sys.epoch)) }

// Kind is the actor's kind.
func (c *Cell) Kind() *Kind { return c.kind }

// Config is the config of the next life, and of this one unless Reconfigured is still under way.
func (c *Cell) Config() proto.Message { return *c.config.Load() }

// SetConfig changes the config for the next life.
func (c *Cell) SetConfig(m proto.Message) { c.config.Store(&m) }

// Life is how many lives have begun.
func (c *Cell) Life() uint32 { return c.lives.Load() }

// PID is where protoactor has it now; nil before the first life.
func (c *Cell) PID() *actor.PID { return c.pid.Load() }

// Prepare is called before the actor is spawned again. Requests that wait in its old mailbox are answered with an error.
func (c *Cell) Prepare() {
	c.pid.Store(nil)
	c.waiting.Store(0)
	c.queue.empty(false, c.path, "it was stopped")
	c.closed.Store(nil)
}

// Bind sets where protoactor has spawned it, after Prepare. From then on messages are accepted.
func (c *Cell) Bind(pid *actor.PID) { c.pid.Store(pid) }

// Remove takes the actor out of the directory, and its states off the bus. The bus deletes a state
// when it is published empty.
func (c *Cell) Remove() {
	c.Close("stopped")
	c.queue.empty(true, c.path, "stopped")
	c.sys.remove(c)
	c.sys.calls.setJudge(c.path, nil)
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

// Props makes protoactor's description of the actor, for a supervisor to spawn.
func (c *Cell) Props() *actor.Props {
	return c.sys.Props(func() actor.Actor { return &life{cell: c} })
}

// Fence abandons the present life, whose goroutine may be stuck for ever: whatever it still publishes or answers is
// dropped, and what it owns is closed.
func (c *Cell) Fence() {
	if l := c.life.Load(); l != nil {
		l.fence()
	}
	c.queue.empty(true, c.path, "it hung and was left behind")
}

// Worked is the time since the last proof of work, see Context.Worked; ok is false if there was none.
func (c *Cell) Worked() (ago time.Duration, ok bool) {
	at := c.worked.Load()
	if at == 0 {
		return 0, false
	}
	return time.Since(c.sys.epoch) - time.Duration(at), true
}

// Served counts the messages dealt with, probes included. While it grows the actor does not hang.
func (c *Cell) Served() uint64 { return c.served.Load() }

// Event publishes on an event subject of the actor.
func (c *Cell) Event(leaf string, m proto.Message) {
	if err := c.sys.Bus.Publish(c.subject(bus.Event, leaf), m); err != nil {
		c.log().Warn("event not published", "leaf", leaf, "err", err)
	}
}

// Counters are the counters of the actor, all lives together.
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

// Begin counts a life of a group, which is an actor of package supervisor and no Actor.
func (c *Cell) Begin() { c.lives.Add(1) }

// Reconfigure gives the running life a new config, as Reconfigured. It is for kinds with Live.
func (c *Cell) Reconfigure(m proto.Message) {
	c.SetConfig(m)
	c.post(reconfigure{m})
}
