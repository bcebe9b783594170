package actors

import (
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// States of health, best first.
const (
	OK          = "ok"
	Starting    = "starting"
	Degraded    = "degraded"
	Unreachable = "unreachable"
	Bad         = "failed"
	Quarantined = "quarantined"
	Gone        = "stopped"
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

// health is that of an actor, as it was last set.
type health struct {
	state, cause string
	since        time.Time // when the state changed; zero: the actor has had no life yet
	life         uint32
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

// Close has all messages refused from now on, with why in the error, until Open.
func (c *Cell) Close(why string) { c.closed.Store(&why) }

// Open ends Close.
func (c *Cell) Open() { c.closed.Store(nil) }

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

// Health is how the actor is, as it was last set.
func (c *Cell) Health() *actorv1.Health {
	c.mu.Lock()
	h := c.health
	c.mu.Unlock()
	m := &actorv1.Health{Kind: c.kind.Name, State: h.state, Cause: h.cause, Life: h.life, About: c.about}
	if !h.since.IsZero() {
		m.Since = timestamppb.New(h.since)
	}
	return m
}

// State is Health().State at less cost.
func (c *Cell) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health.state
}

// SetHealth sets the health, and publishes it if that is a change.
func (c *Cell) SetHealth(state, cause string) {
	c.mu.Lock()
	next := health{state, cause, c.health.since, c.lives.Load()}
	if next == c.health {
		c.mu.Unlock()
		return
	}
	if next.state != c.health.state || next.since.IsZero() {
		next.since = time.Now()
	}
	c.health = next
	c.mu.Unlock()
	c.sayHealth()
	if fn := c.onHealth.Load(); fn != nil {
		(*fn)()
	}
}

// OnHealth has fn called after every change of health, in place of an earlier fn.
func (c *Cell) OnHealth(fn func()) { c.onHealth.Store(&fn) }

func (c *Cell) sayHealth() {
	if err := c.sys.Bus.Publish(c.subject(bus.State, "health"), c.Health()); err != nil {
		c.log().Debug("health not published", "err", err)
	}
}

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

// Heal counts an action of a supervisor after a failure of the actor, by its level as in the event healed: "restart", "cycle" and so on.
func (c *Cell) Heal(level string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.healed == nil {
		c.healed = map[string]uint64{}
	}
	c.healed[level]++
}

// Healed counts the actions of supervisors on the actor since the daemon started, by level.
func (c *Cell) Healed() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.healed)
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

func (c *Cell) limit() int32 {
	if c.kind.Limit > 0 {
		return int32(c.kind.Limit)
	}
	return 256
}

// admit puts a message from outside into the mailbox, or returns why it is refused. What is refused because too many
// wait counts as shed.
func (c *Cell) admit(m mail) error {
	err := c.offer(m)
	if e, ok := err.(*bus.Error); ok && e.Code == bus.ResourceExhausted {
		c.shed.Add(1)
	}
	return err
}

// offer is admit for a sender that tries again: what is refused does not count as shed.
func (c *Cell) offer(m mail) error { return c.letIn(m, c.limit()) }

// letIn puts a message into the mailbox if fewer than most wait there.
func (c *Cell) letIn(m mail, most int32) error {
	if why := c.closed.Load(); why != nil {
		return bus.Errorf(bus.Unavailable, "%s: %s", c.path, *why)
	}
	pid := c.pid.Load()
	if pid == nil {
		return bus.Errorf(bus.Unavailable, "%s has not started", c.path)
	}
	if n := c.waiting.Add(1); n > most {
		c.waiting.Add(-1)
		return bus.Errorf(bus.ResourceExhausted, "%s: %d messages wait already", c.path, n-1)
	}
	if r, ok := m.(*Request); ok && !c.queue.enter(r) {
		c.waiting.Add(-1)
		return bus.Errorf(bus.Unavailable, "%s is stopping", c.path)
	}
	if d := c.drill.Load(); d != nil && d.intercept(c, pid, m) {
		return nil
	}
	c.sys.runtime.Root.Send(pid, m)
	return nil
}

// post sends a message that is never refused: a probe, or one of which a life by other means has only so many.
func (c *Cell) post(m mail) {
	if pid := c.pid.Load(); pid != nil {
		c.waiting.Add(1)
		c.sys.runtime.Root.Send(pid, m)
	}
}

// Begin counts a life of a group, which is an actor of package supervisor and no Actor.
func (c *Cell) Begin() { c.lives.Add(1) }

// Took is for a group, which serves its own mailbox: it notes that msg has been taken out of it. mine is false if msg
// is none of this package; r is the request if it is one.
func (c *Cell) Took(msg any) (r *Request, mine bool) {
	if _, mine = msg.(mail); !mine {
		return nil, false
	}
	c.waiting.Add(-1)
	c.served.Add(1)
	if r, _ = msg.(*Request); r != nil {
		c.queue.leave(r)
	}
	return r, true
}

// Reconfigure gives the running life a new config, as Reconfigured. It is for kinds with Live.
func (c *Cell) Reconfigure(m proto.Message) {
	c.SetConfig(m)
	c.post(reconfigure{m})
}

// Probe sends a message that does nothing: Served grows when its turn has come.
func (c *Cell) Probe() { c.post(probe{}) }
