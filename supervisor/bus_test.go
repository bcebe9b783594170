package supervisor_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// fakeBus is a bus that can fail; a restart repairs it.
type fakeBus struct {
	mu       sync.Mutex
	dead     bool
	stubborn bool // not even a restart helps
	canaries int
	restarts int
	losses   []bus.Loss
}

func (b *fakeBus) Canary(ctx context.Context) error {
	b.mu.Lock()
	b.canaries++
	dead := b.dead
	b.mu.Unlock()
	if dead {
		<-ctx.Done() // a store on a full disk never answers
		return ctx.Err()
	}
	return nil
}

func (b *fakeBus) Restart(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restarts++
	if b.stubborn {
		return errors.New("no space left on device")
	}
	b.dead = false
	b.losses = append([]bus.Loss(nil), bus.Loss{Stream: "events", FromSeq: 3, ToSeq: 9, Reason: "the store came back shorter"})
	return nil
}

func (b *fakeBus) Report() bus.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bus.Report{Losses: append([]bus.Loss(nil), b.losses...)}
}

func (b *fakeBus) set(dead, stubborn bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dead, b.stubborn = dead, stubborn
}

// count returns how many canaries were sent and how often the bus was restarted.
func (b *fakeBus) count() (canaries, restarts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.canaries, b.restarts
}

// newBusWorld is a tree with only the bus in it.
func newBusWorld(t *testing.T, b *fakeBus) *world {
	w := &world{t: t, bus: &actorstest.Recorder{}, starve: make(chan string, 8)}
	w.sys = actors.NewSystem("test", w.bus, testLog)
	cfg := &gatewayv1.Bus{}
	schemas.Defaults(cfg)
	w.tree = supervisor.New(supervisor.Options{
		System: w.sys, Rand: func() float64 { return 0.5 }, Kinds: []actors.Kind{supervisor.BusKind(b, cfg, nil)},
		Starve: func(path, why string) { w.starve <- path + ": " + why },
	})
	root := &gatewayv1.Gateway{Gateway: "test"}
	schemas.Defaults(root)
	w.start = func() {
		n := &config.Node{Path: "bus", Kind: "bus", Config: proto.CloneOf(cfg)}
		if err := w.tree.Start(&config.Tree{Root: &config.Node{Config: root, Children: []*config.Node{n}}}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) losses() (n int) {
	for _, p := range w.bus.All() {
		if _, ok := p.Message.(*gatewayv1.BusLoss); ok {
			n++
		}
	}
	return n
}

func TestADeadCanaryRestartsTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBus{losses: []bus.Loss{{Stream: "tracks", Reason: "at the start"}}}
		w := newBusWorld(t, b)
		w.run(time.Minute)
		if w.losses() != 1 || w.sys.Lookup("bus").State() != actors.OK {
			t.Errorf("%d losses told, %s", w.losses(), w.sys.Lookup("bus").State())
		}
		b.set(true, false)
		w.run(16 * time.Second)
		if s := w.sys.Lookup("bus").State(); s != actors.Degraded {
			t.Errorf("after one canary %s", s)
		}
		w.run(time.Minute)
		w.wantHealed("bus cycle", "bus recovered")
		if _, restarts := b.count(); restarts != 1 || w.losses() != 2 {
			t.Errorf("%d restarts, %d losses told", restarts, w.losses())
		}
		w.stop()
	})
}

func TestABusThatCannotBeRepairedIsTriedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBus{}
		w := newBusWorld(t, b)
		w.run(time.Minute)
		b.set(true, true)
		w.run(30 * time.Minute)
		if _, restarts := b.count(); restarts < 10 || restarts > 100 {
			t.Errorf("%d restarts in half an hour", restarts)
		}
		b.set(true, false)
		w.run(10 * time.Minute)
		if s := w.sys.Lookup("bus").State(); s != actors.OK {
			t.Errorf("repaired, and still %s", s)
		}
		w.stop()
	})
}

// TestOneCanaryAtATime: a canary that is due more often than it takes to fail does not pile up.
func TestOneCanaryAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBus{}
		w := newBusWorld(t, b)
		w.run(time.Second)
		every := &structpb.Struct{Fields: map[string]*structpb.Value{"canary": structpb.NewStringValue("100ms"), "max-store": structpb.NewStringValue("2097152")}}
		_ = w.sys.Lookup("bus").Steer(actors.NewRequest(&actorv1.UpdateConfigRequest{Config: every}, func(_ any, err error) {
			if err != nil {
				t.Error(err)
			}
		}))
		w.run(2 * time.Second)
		h := w.sys.Lookup("bus").Health()
		if h.State != actors.Degraded { // it reports what needs a restart of the daemon, and does not flap
			t.Errorf("%s %s", h.State, h.Cause)
		}
		b.set(true, false)
		before, _ := b.count()
		w.run(4 * time.Second)
		if after, _ := b.count(); after-before > 1 {
			t.Errorf("%d canaries at once", after-before)
		}
		w.run(time.Minute)
		w.stop()
	})
}
