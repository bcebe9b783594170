// Package actorstest runs actors on a real in-process bus. Peers are replaced by functions;
// everything else is real. Recorder is a bus for tests in virtual time, in which a real bus would
// stop the clock.
package actorstest

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
)

// Gateway is the gateway's name in tests.
const Gateway = "test"

// Patience is how long a test waits for an expected message or condition. It only ends tests that
// hang; a busy machine may take its time.
const Patience = 2 * time.Minute

// Rig is a bus and a system of actors that last as long as the test.
type Rig struct {
	t       testing.TB
	Bus     *bus.Conn // nil in virtual time
	record  *Recorder // nil except in virtual time
	Listens string    // host:port of the bus, if it listens
	System  *actors.System
	parent  *actor.PID
	Faults  chan *actors.Fault // failures of the actors under test
}

// New starts a rig.
func New(t testing.TB) *Rig {
	t.Helper()
	return NewOn(t, bus.Config{})
}

// NewOn starts a rig on a bus with this config.
func NewOn(t testing.TB, cfg bus.Config) *Rig {
	t.Helper()
	return begin(t, cfg, func(b *bus.Conn) actors.Bus { return b })
}

// NewOver starts a rig whose actors use the bus that over returns. It is for bus behaviour that
// occurs only when something fails.
func NewOver(t testing.TB, over func(*bus.Conn) actors.Bus) *Rig {
	t.Helper()
	return begin(t, bus.Config{}, over)
}

func begin(t testing.TB, cfg bus.Config, over func(*bus.Conn) actors.Bus) *Rig {
	t.Helper()
	cfg.Gateway, cfg.Dir = Gateway, t.TempDir()
	b, err := bus.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r := &Rig{t: t, Bus: b.Conn(), Listens: b.Addr(), System: actors.NewSystem(Gateway, over(b.Conn()), slog.New(slog.DiscardHandler)), Faults: make(chan *actors.Fault, 64)}
	r.System.Dir = scratch(t)
	stop, err := r.System.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	r.parent = spawnParent(t, r.System, r.Faults, false)
	return r
}

// scratch returns a directory that is removed after the test. Removal is retried, because actors
// that are being stopped may still write into it.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatewayd-rig-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(Patience); os.RemoveAll(dir) != nil; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Errorf("%s cannot be removed", dir)
				return
			}
		}
	})
	return dir
}

// NewVirtual starts a rig for virtual time (testing/synctest), on a bus that only records.
func NewVirtual(t *testing.T) (*Rig, *Recorder) {
	t.Helper()
	b := &Recorder{}
	r := &Rig{t: t, record: b, System: actors.NewSystem(Gateway, b, slog.New(slog.DiscardHandler)), Faults: make(chan *actors.Fault, 64)}
	r.parent = spawnParent(t, r.System, r.Faults, false)
	return r, b
}

// Once makes actors that fail stay stopped. Without it they are restarted at once.
func (r *Rig) Once() *Rig {
	r.t.Helper()
	r.parent = spawnParent(r.t, r.System, r.Faults, true)
	return r
}

// Start starts an actor of kind k at path. It is restarted at once when it fails.
func (r *Rig) Start(path string, k actors.Kind, config proto.Message) *actors.Cell {
	r.t.Helper()
	schemas.Defaults(config)
	cell, err := r.System.NewCell(path, &k, config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Spawn(cell)
	return cell
}

// Spawn starts an actor again that was stopped.
func (r *Rig) Spawn(cell *actors.Cell) {
	r.t.Helper()
	done := make(chan error, 1)
	r.System.Runtime().Root.Send(r.parent, spawn{cell, done})
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

// Stop stops the actor and waits until it has ended.
func (r *Rig) Stop(cell *actors.Cell) {
	r.t.Helper()
	r.System.Runtime().Root.Stop(cell.PID())
	r.Until("stopped", func() bool { return cell.State() == actors.Gone || cell.State() == actors.Bad })
}

// Peer plays the actor called path. It answers every message with what fn returns: an error
// refuses, nil gives no answer at all.
func (r *Rig) Peer(path string, fn func(msg any) any) {
	r.t.Helper()
	k := actors.Define(actors.Kind{Name: "peer", Doc: "plays a peer"}, func(*structpb.Struct) actors.Actor { return peer(fn) })
	r.Start(path, k, &structpb.Struct{})
}

type peer func(msg any) any

func (p peer) Receive(c *actors.Context, msg any) error {
	if c.Request() == nil {
		return nil
	}
	switch ans := p(msg).(type) {
	case nil:
		c.Take()
	case error:
		c.Refuse(ans)
	default:
		c.Reply(ans)
	}
	return nil
}

// Call sends a command and returns the answer. The command goes over the bus, or in virtual time
// directly to the actor.
func Call[T proto.Message](r *Rig, path, method string, req proto.Message, resp T) (T, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if r.Bus == nil {
		got, err := r.System.Call(ctx, path, method, req)
		if m, ok := got.(T); ok {
			proto.Merge(resp, m)
		}
		return resp, err
	}
	err := r.Bus.Call(ctx, bus.Subject(Gateway, bus.Cmd, path, method), req, resp)
	return resp, err
}

// Watch collects the messages published on an MQTT-style filter such as "data/field/#".
func Watch[T proto.Message](r *Rig, filter string, empty T) <-chan T {
	r.t.Helper()
	pattern, err := bus.Pattern(Gateway, filter)
	if err != nil {
		r.t.Fatal(err)
	}
	ch := make(chan T, 1<<14)
	hear := func(subject string, v T) {
		select {
		case ch <- v:
		default:
			r.t.Errorf("%s: nobody reads %s", subject, filter)
		}
	}
	if r.record != nil {
		r.record.hear(func(p Published) {
			if v, ok := p.Message.(T); ok && bus.Match(pattern, p.Subject) {
				hear(p.Subject, v)
			}
		})
		return ch
	}
	stop, err := r.Bus.Subscribe(pattern, func(m bus.Msg) {
		v := empty.ProtoReflect().New().Interface().(T)
		if err := m.Decode(v); err != nil {
			r.t.Errorf("%s: %v", m.Subject, err)
		}
		hear(m.Subject, v)
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(stop)
	return ch
}

// Next returns the next value on ch.
func Next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(Patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// NextWhere returns the next value on ch for which fn is true.
func NextWhere[T any](t *testing.T, ch <-chan T, fn func(T) bool) T {
	t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case v := <-ch:
			if fn(v) {
				return v
			}
		case <-deadline:
			t.Fatal("what was waited for did not come")
		}
	}
}

// Until waits for a condition that no message announces.
func (r *Rig) Until(what string, cond func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(Patience); !cond(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// spawnParent starts a minimal supervisor. It restarts whatever fails at once, or with once set
// stops it for good, and reports the fault.
func spawnParent(t testing.TB, s *actors.System, faults chan<- *actors.Fault, once bool) *actor.PID {
	t.Helper()
	props := actor.PropsFromProducer(func() actor.Actor {
		return &parent{s, faults, once, map[string]*actors.Cell{}}
	})
	pid, err := s.Runtime().Root.SpawnNamed(props, s.SpawnName("rig"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Runtime().Root.Stop(pid) })
	return pid
}

type spawn struct {
	cell *actors.Cell
	done chan<- error
}

type parent struct {
	s      *actors.System
	faults chan<- *actors.Fault
	once   bool
	cells  map[string]*actors.Cell // by id of the PID
}

func (p *parent) Receive(pc actor.Context) {
	m, ok := pc.Message().(spawn)
	if !ok {
		return
	}
	m.cell.Prepare()
	pid, err := pc.SpawnNamed(m.cell.Props(), p.s.SpawnName(m.cell.Token()))
	if err == nil {
		m.cell.Bind(pid)
		p.cells[pid.Id] = m.cell
	}
	m.done <- err
}

// HandleFailure implements actor.SupervisorStrategy.
func (p *parent) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	if f, ok := reason.(*actors.Fault); ok {
		select {
		case p.faults <- f:
		default:
		}
	}
	if !p.once {
		sup.RestartChildren(child)
		return
	}
	if cell := p.cells[child.Id]; cell != nil {
		cell.Close("it failed")
	}
	sup.StopChildren(child)
}
