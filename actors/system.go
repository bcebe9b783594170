package actors

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/protocols/durable"
	"gatewayd/schemas"
)

// Bus is what actors need of the bus. *bus.Conn is one.
type Bus interface {
	Publish(subject string, m proto.Message) error
	PublishRaw(subject, contentType string, payload []byte) error
	Subscribe(pattern string, fn func(bus.Msg)) (stop func(), err error)
	CallRaw(ctx context.Context, subject, contentType string, payload []byte) (string, []byte, error)
}

// System is the actors of one gateway: the directory of names and the way to each actor. There is
// one per process.
type System struct {
	Gateway string
	Bus     Bus
	Log     *slog.Logger
	Dir     string // directory for files of actors; empty: none

	runtime    *actor.ActorSystem
	calls      calls
	dispatcher dispatcher
	grid       grid
	watch      watch
	epoch      time.Time
	salt       atomic.Uint32
	workers    atomic.Int64
	save       func(file string, v any, mode fs.FileMode) error // writes notes: durable.Save

	settling settling

	noting sync.Mutex
	notes  map[string]*note // by path and leaf; never removed, because a removed actor may come back

	mu       sync.RWMutex
	cells    map[string]*Cell
	register register
}

// NewSystem returns an empty system on b.
func NewSystem(gateway string, b Bus, log *slog.Logger) *System {
	quiet := func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
	runtime := actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleInterval(10*time.Millisecond)) // each batch of dead letters holds a goroutine for this time
	oneBucket(runtime.ProcessRegistry.LocalPIDs)
	now := time.Now()
	return &System{
		Gateway: gateway, Bus: b, Log: log, runtime: runtime,
		epoch: now, grid: grid{epoch: now}, save: durable.Save,
		notes: map[string]*note{}, cells: map[string]*Cell{}, register: register{kinds: map[string]*kindUse{}},
	}
}

// oneBucket makes protoactor's registry one concurrent map instead of 1024. That saves 2.7 MB. It
// also fixes 32-bit machines, on which the registry computes a negative bucket index for half of
// all names: a remainder modulo one is never negative.
func oneBucket(m *actor.SliceMap) {
	one := slices.Clone(m.LocalPIDs[:1])
	for _, bucket := range m.LocalPIDs[1:] {
		if bucket.IsEmpty() { // reading a bucket takes 10 KB and 64 goroutines
			continue
		}
		for id, process := range bucket.Items() {
			one[0].Set(id, process)
		}
	}
	m.LocalPIDs = one
}

// Runtime returns the underlying protoactor system.
func (s *System) Runtime() *actor.ActorSystem { return s.runtime }

// Props returns protoactor's description of something that this system runs.
func (s *System) Props(producer actor.Producer) *actor.Props {
	return actor.PropsFromProducer(producer, actor.WithMailbox(newMailbox), actor.WithDispatcher(&s.dispatcher))
}

// Serve answers commands for all actors, with one subscription, until stop is called.
func (s *System) Serve() (stop func(), err error) {
	return s.Bus.Subscribe("gw."+s.Gateway+"."+string(bus.Cmd)+".>", s.route)
}

// Lookup returns the actor called path; nil: there is none.
func (s *System) Lookup(path string) *Cell {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cells[path]
}

// Paths lists all actors and groups, sorted.
func (s *System) Paths() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	paths := make([]string, 0, len(s.cells))
	for p := range s.cells {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// Cells lists all actors and groups in no particular order.
func (s *System) Cells() []*Cell {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Cell, 0, len(s.cells))
	for _, c := range s.cells {
		all = append(all, c)
	}
	return all
}

// Workers returns the number of running workers: those of Do, abandoned ones included, and writes
// and reads of notes.
func (s *System) Workers() int { return int(s.workers.Load()) }

// Republish publishes the catalogue and all health states again, for a bus that has lost them.
func (s *System) Republish() {
	for _, c := range s.Cells() {
		c.sayHealth()
		c.sayListing()
	}
	s.sayIndex()
}

func (s *System) add(c *Cell) error {
	s.mu.Lock()
	_, taken := s.cells[c.path]
	if !taken {
		s.cells[c.path] = c
	}
	s.mu.Unlock()
	if taken {
		return fmt.Errorf("actor %q already exists", c.path)
	}
	s.enter(c)
	return nil
}

// remove takes c out of the directory. It returns false if c is not there.
func (s *System) remove(c *Cell) (here bool) {
	s.mu.Lock()
	here = s.cells[c.path] == c
	if here {
		delete(s.cells, c.path)
	}
	s.mu.Unlock()
	if here {
		s.strike(c)
	}
	return here
}

// SpawnName returns a name for protoactor that was never used before: token with a suffix. The
// actor's own name has no suffix.
func (s *System) SpawnName(token string) string {
	return token + "~" + strconv.FormatUint(uint64(s.salt.Add(1)), 36)
}

// unknown returns the error for a path that no actor has, with the most similar path as a hint.
func (s *System) unknown(path string) *bus.Error {
	return bus.Errorf(bus.NotFound, "no actor has the path %q%s", path, schemas.DidYouMeanPath(path, s.Paths()))
}
