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

// System is one gateway's actors: the directory of names and the way to each
// of them. There is one per process.
type System struct {
	Gateway string
	Bus     Bus
	Log     *slog.Logger
	Dir     string // where actors may keep files; empty: nowhere

	runtime *actor.ActorSystem
	calls   calls
	crew    crew
	grid    grid
	watch   watch
	epoch   time.Time
	salt    atomic.Uint32
	workers atomic.Int64
	save    func(file string, v any, mode fs.FileMode) error // of notes: durable.Save

	settling settling

	noting sync.Mutex
	notes  map[string]*note // by path and leaf, for as long as the process lives: an actor that is removed may come again

	mu       sync.RWMutex
	cells    map[string]*Cell
	register register
}

// NewSystem makes an empty system on b.
func NewSystem(gateway string, b Bus, log *slog.Logger) *System {
	quiet := func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }
	runtime := actor.NewActorSystem(actor.WithLoggerFactory(quiet), actor.WithDeadLetterRequestLogging(false),
		actor.WithDeadLetterThrottleInterval(10*time.Millisecond)) // for so long each lot of dead letters holds a goroutine
	oneBucket(runtime.ProcessRegistry.LocalPIDs)
	now := time.Now()
	return &System{
		Gateway: gateway, Bus: b, Log: log, runtime: runtime,
		epoch: now, grid: grid{epoch: now}, save: durable.Save,
		notes: map[string]*note{}, cells: map[string]*Cell{}, register: register{kinds: map[string]*kindUse{}},
	}
}

// oneBucket makes protoactor's registry one concurrent map instead of 1024 of
// them. That saves 2.7 MB, and it cures 32-bit machines, on which the registry
// picks its bucket with a negative number for half of all names: the remainder
// of a division by one is never negative.
func oneBucket(m *actor.SliceMap) {
	one := slices.Clone(m.LocalPIDs[:1])
	for _, bucket := range m.LocalPIDs[1:] {
		if bucket.IsEmpty() { // to look into one takes 10 KB and 64 goroutines
			continue
		}
		for id, process := range bucket.Items() {
			one[0].Set(id, process)
		}
	}
	m.LocalPIDs = one
}

// Runtime is the protoactor system below.
func (s *System) Runtime() *actor.ActorSystem { return s.runtime }

// Props makes protoactor's description of something that this system runs.
func (s *System) Props(producer actor.Producer) *actor.Props {
	return actor.PropsFromProducer(producer, actor.WithMailbox(newMailbox), actor.WithDispatcher(&s.crew))
}

// Serve answers commands for all actors until stop is called. One subscription
// serves them all.
func (s *System) Serve() (stop func(), err error) {
	return s.Bus.Subscribe("gw."+s.Gateway+"."+string(bus.Cmd)+".>", s.route)
}

// Lookup finds the actor called path.
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

// Cells lists all actors and groups in no order.
func (s *System) Cells() []*Cell {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Cell, 0, len(s.cells))
	for _, c := range s.cells {
		all = append(all, c)
	}
	return all
}

// Workers counts goroutines of Do that are running, abandoned ones included.
func (s *System) Workers() int { return int(s.workers.Load()) }

// Republish says again who there is and how everybody is, for a bus that has forgotten it.
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
		return fmt.Errorf("actor %q exists already", c.path)
	}
	s.enter(c)
	return nil
}

func (s *System) remove(c *Cell) {
	s.mu.Lock()
	here := s.cells[c.path] == c
	if here {
		delete(s.cells, c.path)
	}
	s.mu.Unlock()
	if here {
		s.strike(c)
	}
}

// SpawnName is a name for protoactor that was never used before: the token with
// a salt. The actor's own name stays clean.
func (s *System) SpawnName(token string) string {
	return token + "~" + strconv.FormatUint(uint64(s.salt.Add(1)), 36)
}

// unknown is the error for a path nobody has, with the nearest one there is.
func (s *System) unknown(path string) *bus.Error {
	return bus.Errorf(bus.NotFound, "no actor is called %q%s", path, schemas.DidYouMeanPath(path, s.Paths()))
}
