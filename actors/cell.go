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

// Cell is what stays of an actor from life to life: its name, its config, its
// place in the directory, its counters and its last word on its health. A
// supervisor holds it; all methods may be called from any goroutine.
type Cell struct {
	sys  *System
	path string
	kind *Kind
	meth map[string]method

	came   time.Duration // when, since the system's epoch
	about  string        // what it stands for, if its name does not say that
	parent *life         // of a child of another actor; nil: a supervisor holds it

	config  atomic.Pointer[proto.Message]
	pid     atomic.Pointer[actor.PID]
	life    atomic.Pointer[life]
	lives   atomic.Uint32
	waiting atomic.Int32
	queue   queue
	closed  atomic.Pointer[string] // why nobody is let in
	drill   atomic.Pointer[drill]
	steer   atomic.Pointer[func(Steer)]

	worked  atomic.Int64 // time of the last OK, ns since the system's epoch; 0: never
	handled atomic.Uint64
	served  atomic.Uint64 // handled, probes left out
	shed    atomic.Uint64
	missed  atomic.Uint64
	failed  atomic.Uint64
	left    atomic.Uint64 // workers left behind

	onHealth atomic.Pointer[func()]

	mu     sync.Mutex
	health word
	called map[string]*MethodStats // nil until somebody calls
	healed map[string]uint64       // by level; nil until a supervisor acts on it
}

// word is the last one on an actor's health.
type word struct {
	state, cause string
	since        time.Time // zero: it has had no life yet
	life         uint32
}

// NewCell enters an actor of kind k at path into the directory. It has no life
// yet: spawn its Props.
func (s *System) NewCell(path string, k *Kind, config proto.Message) (*Cell, error) {
	c := &Cell{sys: s, path: path, kind: k, meth: k.meth(), came: time.Since(s.epoch), health: word{state: Gone}}
	c.config.Store(&config)
	return c, s.add(c)
}

// Path is the actor's name.
func (c *Cell) Path() string { return c.path }

// Token is the last part of the name.
func (c *Cell) Token() string { return c.path[strings.LastIndexByte(c.path, '/')+1:] }

// Since is when it came into the directory, as the clock has it now: since then its calls are counted.
func (c *Cell) Since() time.Time { return time.Now().Add(c.came - time.Since(c.sys.epoch)) }

// Kind is the actor's kind.
func (c *Cell) Kind() *Kind { return c.kind }

// Config is the config of the next life, and of this one unless Reconfigured is still under way.
func (c *Cell) Config() proto.Message { return *c.config.Load() }

// SetConfig changes the config for the next life.
func (c *Cell) SetConfig(m proto.Message) { c.config.Store(&m) }

// Life counts the lives begun.
func (c *Cell) Life() uint32 { return c.lives.Load() }

// PID is where protoactor has it now; nil before the first life.
func (c *Cell) PID() *actor.PID { return c.pid.Load() }

// Prepare is called before the actor is spawned anew: messages for the place
// where it was are not counted any more.
func (c *Cell) Prepare() {
	c.pid.Store(nil)
	c.waiting.Store(0)
	c.queue.empty(false, c.path, "it was stopped")
	c.closed.Store(nil)
}

// Bind says where protoactor has spawned it, after Prepare. Messages wait from
// then on.
func (c *Cell) Bind(pid *actor.PID) { c.pid.Store(pid) }

// Close refuses all messages from now on, saying why; Open lets them in again.
func (c *Cell) Close(why string) { c.closed.Store(&why) }

// Open ends Close.
func (c *Cell) Open() { c.closed.Store(nil) }

// Remove takes the actor out of the directory, and its last words off the bus:
// an empty message is what a late comer shall not be told.
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
		c.log().Debug("last word not taken back", "leaf", leaf, "err", err)
	}
}

// Props makes protoactor's description of the actor, for a supervisor to spawn.
func (c *Cell) Props() *actor.Props {
	return c.sys.Props(func() actor.Actor { return &life{cell: c} })
}

// Fence abandons the present life: whatever it still says is refused, and its
// descriptors are closed. Its goroutine may be stuck for ever.
func (c *Cell) Fence() {
	if l := c.life.Load(); l != nil {
		l.fence()
	}
	c.queue.empty(true, c.path, "it hung and was left behind")
}

// Worked is the time since the actor last proved that it works; ok is false
// if it never has.
func (c *Cell) Worked() (ago time.Duration, ok bool) {
	at := c.worked.Load()
	if at == 0 {
		return 0, false
	}
	return time.Since(c.sys.epoch) - time.Duration(at), true
}

// Served counts messages handled, probes included: a number that has moved is
// a mailbox that is served.
func (c *Cell) Served() uint64 { return c.served.Load() }

// Health is the last word.
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

// State is Health().State, cheaper.
func (c *Cell) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health.state
}

// SetHealth changes the last word, and publishes it if it did change.
func (c *Cell) SetHealth(state, cause string) {
	c.mu.Lock()
	next := word{state, cause, c.health.since, c.lives.Load()}
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

// OnHealth has fn called after every change of health, instead of whatever was
// called so far.
func (c *Cell) OnHealth(fn func()) { c.onHealth.Store(&fn) }

func (c *Cell) sayHealth() {
	if err := c.sys.Bus.Publish(c.subject(bus.State, "health"), c.Health()); err != nil {
		c.log().Debug("health not published", "err", err)
	}
}

// Event publishes something that happened to the actor.
func (c *Cell) Event(leaf string, m proto.Message) {
	if err := c.sys.Bus.Publish(c.subject(bus.Event, leaf), m); err != nil {
		c.log().Warn("event not published", "leaf", leaf, "err", err)
	}
}

// Counters are what the actor has done.
func (c *Cell) Counters() *actorv1.Counters {
	return &actorv1.Counters{
		Failures: c.failed.Load(), Handled: c.handled.Load(), Shed: c.shed.Load(),
		MissedTicks: c.missed.Load(), Abandoned: c.left.Load(), Waiting: uint32(max(0, c.waiting.Load())),
	}
}

// Heal counts that a supervisor has acted on a failure of the actor, and how hard: by a level of actor.v1.Healed.
func (c *Cell) Heal(level string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.healed == nil {
		c.healed = map[string]uint64{}
	}
	c.healed[level]++
}

// Healed is how often a supervisor has acted on the actor since the daemon started, by level.
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

// admit lets one message from outside in, or says why not. What is too much is
// counted.
func (c *Cell) admit(m mail) error {
	err := c.offer(m)
	if e, ok := err.(*bus.Error); ok && e.Code == bus.ResourceExhausted {
		c.shed.Add(1)
	}
	return err
}

// offer is admit for those that come again.
func (c *Cell) offer(m mail) error { return c.letIn(m, c.limit()) }

// letIn has a message wait with most-1 others.
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

// post sends a message that must not be refused: a probe, or what a life sends
// itself and bounds by other means.
func (c *Cell) post(m mail) {
	if pid := c.pid.Load(); pid != nil {
		c.waiting.Add(1)
		c.sys.runtime.Root.Send(pid, m)
	}
}

// Begin counts a life of something that has no life of package actors: a group.
func (c *Cell) Begin() { c.lives.Add(1) }

// Took takes the accounting of a message out of a mailbox that a supervisor
// serves itself. It returns the request if the message is one.
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

// Reconfigure gives the running life a new config. Only for kinds with Live.
func (c *Cell) Reconfigure(m proto.Message) {
	c.SetConfig(m)
	c.post(reconfigure{m})
}

// Probe asks the mailbox to be served: Served moves when it is.
func (c *Cell) Probe() { c.post(probe{}) }
