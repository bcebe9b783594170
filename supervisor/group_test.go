package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// world is a tree in virtual time, with actors that behave as the test says.
type world struct {
	t      *testing.T
	bus    *actorstest.Recorder
	sys    *actors.System
	tree   *supervisor.Tree
	mu     sync.Mutex // guards the plans if they change while the tree runs, and the recorded events
	plans  map[string]*plan
	starve chan string
	power  []string
	start  func() // called by the first run
}

// plan is how the actor at one path behaves. The test changes it only while nothing runs.
type plan struct {
	started func(life uint32) error
	stopped func()
	tick    func(life uint32) error
	lives   atomic.Int64
	ticks   atomic.Int64
	settled atomic.Int64 // how often it was told that the config has settled; it asks at every tick
}

type puppet struct{ w *world }

type beat struct{}

func (p puppet) Receive(c *actors.Context, msg any) error {
	p.w.mu.Lock()
	pl := p.w.plans[c.Name()]
	started, tick, stopped := pl.started, pl.tick, pl.stopped
	p.w.mu.Unlock()
	switch m := msg.(type) {
	case actors.Started:
		pl.lives.Add(1)
		if started != nil {
			if err := started(c.Life()); err != nil {
				return err
			}
		}
		c.Every(time.Second, beat{})
	case beat:
		pl.ticks.Add(1)
		c.WhenSettled()
		if tick != nil {
			if err := tick(c.Life()); err != nil {
				return err
			}
		}
		c.OK()
	case actors.Settled:
		if m.Config != nil {
			pl.settled.Add(1)
		}
	case actors.Stopped:
		if stopped != nil {
			stopped()
		}
	}
	return nil
}

// tree describes groups and actors: "field", "field/a" …; a path ending in "!" owns power.
func newWorld(t *testing.T, groups map[string]*gatewayv1.Group, paths ...string) *world {
	t.Helper()
	w := &world{t: t, bus: &actorstest.Recorder{}, plans: map[string]*plan{}, starve: make(chan string, 100)}
	w.sys = actors.NewSystem("test", w.bus, testLog)
	build := func(*structpb.Struct) actors.Actor { return puppet{w} }
	powered := actors.Kind{Name: "powered", Doc: "owns power", Power: func(proto.Message) *actors.Power {
		return &actors.Power{
			Off: func(context.Context) error { w.note(&w.power, "off"); return nil },
			On:  func(context.Context) error { w.note(&w.power, "on"); return nil },
		}
	}}
	w.tree = supervisor.New(supervisor.Options{
		System: w.sys, Rand: func() float64 { return 0.5 },
		Kinds: []actors.Kind{actors.Define(actors.Kind{Name: "puppet", Doc: "does as told"}, build), actors.Define(powered, build)},
		Starve: func(path, why string) {
			select {
			case w.starve <- path + ": " + why:
			default:
			}
		},
	})
	rootConfig := &gatewayv1.Gateway{Gateway: "test"}
	schemas.Defaults(rootConfig)
	root := &config.Node{Config: rootConfig}
	nodes := map[string]*config.Node{"": root}
	for _, p := range paths {
		path, powered := strings.CutSuffix(p, "!")
		n := &config.Node{Path: path, Kind: "puppet", Config: &structpb.Struct{}}
		if powered {
			n.Kind = "powered"
		}
		if s, ok := groups[path]; ok {
			schemas.Defaults(s)
			n.Kind, n.Config = "", s
		} else {
			w.plans[path] = &plan{}
		}
		up, _, _ := cutLast(path)
		nodes[up].Children = append(nodes[up].Children, n)
		nodes[path] = n
	}
	w.start = func() {
		if err := w.tree.Start(&config.Tree{Root: root}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func cutLast(path string) (up, token string, ok bool) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:], true
	}
	return "", path, false
}

// change changes plans while the tree runs.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

func (w *world) note(list *[]string, word string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*list = append(*list, word)
}

// run lets virtual time pass; the first call starts the tree.
func (w *world) run(d time.Duration) {
	if w.start != nil {
		w.start()
		w.start = nil
	}
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := w.tree.Stop(ctx); err != nil {
		w.t.Error(err)
	}
	time.Sleep(time.Minute) // timers of ended lives expire
	synctest.Wait()
}

// healed lists what the supervisor did, as "child level".
func (w *world) healed() []string {
	var all []string
	for _, p := range w.bus.All() {
		if h, ok := p.Message.(*actorv1.Healed); ok {
			all = append(all, h.Child+" "+h.Level)
		}
	}
	return all
}

func (w *world) wantHealed(want ...string) {
	w.t.Helper()
	if got := w.healed(); fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("healed\n got %q\nwant %q", got, want)
	}
}

var testLog = slog.New(slog.DiscardHandler)

var errBoom = errors.New("boom")

func once(n uint32, err error) func(uint32) error {
	return func(life uint32) error {
		if life <= n {
			return err
		}
		return nil
	}
}

func TestCrashIsRestartedAndSiblingsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"field": {}}, "field", "field/a", "field/b")
		w.plans["field/a"].tick = func(life uint32) error {
			if life == 1 && w.plans["field/a"].ticks.Load() == 3 {
				panic("boom")
			}
			return nil
		}
		w.run(10500 * time.Millisecond)
		w.wantHealed("field/a restart", "field/a recovered")
		if b := w.plans["field/b"]; b.lives.Load() != 1 || b.ticks.Load() < 11 {
			t.Errorf("the sibling had %d lives and %d ticks", b.lives.Load(), b.ticks.Load())
		}
		w.stop()
	})
}

func TestFieldEndsInQuarantineAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"field": {Ladder: []string{"restart 2 in 1m", "quarantine"}}}, "field", "field/a", "field/b")
		w.plans["field/a"].started = once(4, errBoom)
		w.run(4 * time.Minute)
		w.wantHealed("field/a restart", "field/a restart", "field/a quarantine")
		if s := w.sys.Lookup("field/a").State(); s != actors.Quarantined {
			t.Errorf("state %s", s)
		}
		w.run(2 * time.Minute) // one attempt, still bad: straight back, no restarts used
		w.run(5 * time.Minute)
		w.wantHealed("field/a restart", "field/a restart", "field/a quarantine", "field/a quarantine", "field/a recovered")
		if got, want := w.sys.Lookup("field/a").Healed(), (map[string]uint64{"restart": 2, "quarantine": 2}); !maps.Equal(got, want) {
			t.Errorf("counted %v, want %v", got, want)
		}
		if len(w.starve) != 0 {
			t.Error("an unplugged meter starves the watchdog")
		}
		w.stop()
	})
}

// TestTheWholeStory is the gateway's promise: restart, power cycle, full restart, watchdog.
func TestTheWholeStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"radio": {Ladder: []string{"restart 1 in 1h", "cycle 1 in 1h", "escalate"}}}, "radio", "radio/modem!")
		w.plans["radio/modem"].started = once(1000, errBoom)
		w.run(time.Minute)
		want := []string{"radio/modem restart", "radio/modem cycle", "radio/modem escalate"}
		var story []string
		for range 3 { // the root's own ladder: three full restarts
			story = append(story, want...)
			story = append(story, "radio full-restart")
		}
		story = append(append(story, want...), "radio watchdog")
		got := w.healed()
		if fmt.Sprint(got[:min(len(got), len(story))]) != fmt.Sprint(story) {
			t.Errorf("healed\n got %q\nwant %q", got, story)
		}
		if len(w.starve) == 0 {
			t.Fatal("nobody starved the watchdog")
		}
		if s := <-w.starve; !strings.Contains(s, "radio/modem: boom") {
			t.Errorf("starved by %q", s)
		}
		if len(w.power) < 2 || w.power[0] != "off" || w.power[1] != "on" {
			t.Errorf("power %q", w.power)
		}
		w.stop()
	})
}

func TestHangIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"field": {}}, "field", "field/a", "field/b")
		release := make(chan struct{})
		w.plans["field/a"].tick = func(life uint32) error {
			if life == 1 {
				<-release
				panic("too late")
			}
			return nil
		}
		w.run(20 * time.Second)
		w.wantHealed("field/a restart", "field/a recovered")
		if b := w.plans["field/b"]; b.ticks.Load() < 20 {
			t.Errorf("the sibling had %d ticks", b.ticks.Load())
		}
		close(release)
		w.run(10 * time.Second)
		w.wantHealed("field/a restart", "field/a recovered")
		if a := w.sys.Lookup("field/a"); a.Life() != 2 || a.State() != actors.OK {
			t.Errorf("life %d, %s", a.Life(), a.State())
		}
		w.stop()
	})
}

func TestHungPowerOwnerIsCycled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"bus": {Power: &gatewayv1.Power{}}}, "bus", "bus/line!", "bus/unit")
		release := make(chan struct{})
		w.plans["bus/line"].tick = func(life uint32) error {
			if life == 1 {
				<-release
			}
			return nil
		}
		w.run(30 * time.Second)
		w.wantHealed("bus/line cycle", "bus/line recovered")
		if fmt.Sprint(w.power) != "[off on]" || w.plans["bus/unit"].lives.Load() != 1 {
			t.Errorf("power %q; the unit, which does not depend on it, had %d lives", w.power, w.plans["bus/unit"].lives.Load())
		}
		close(release)
		w.stop()
	})
}

func TestStopLeavesAHungChildBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		w := newWorld(t, map[string]*gatewayv1.Group{"g": {}}, "g", "g/a", "g/b", "g/c")
		release := make(chan struct{})
		for _, n := range []string{"a", "b", "c"} {
			w.plans["g/"+n].stopped = func() {
				w.note(&order, n)
				if n == "b" {
					<-release
				}
			}
		}
		w.run(2 * time.Second)
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.tree.Stop(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("took %s, want the one deadline", took)
		}
		if fmt.Sprint(order) != "[c b a]" {
			t.Errorf("stopped in order %v", order)
		}
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
	})
}

func TestPanicsInStopping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"g": {}}, "g", "g/a")
		w.plans["g/a"].stopped = func() { panic("in Stopped") }
		w.plans["g/a"].tick = func(life uint32) error {
			if life < 3 {
				return errBoom
			}
			return nil
		}
		w.run(20 * time.Second)
		w.wantHealed("g/a restart", "g/a restart", "g/a recovered")
		w.stop()
	})
}

func TestBrokenStaysDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]*gatewayv1.Group{"g": {}}, "g", "g/a")
		w.plans["g/a"].started = func(uint32) error { return actors.Broken(errBoom) }
		w.run(time.Hour)
		w.wantHealed("g/a broken")
		if w.plans["g/a"].lives.Load() != 1 {
			t.Errorf("%d lives", w.plans["g/a"].lives.Load())
		}
		w.stop()
	})
}

func TestEvidenceNamesTheSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gatewayv1.Group{Critical: true}
		g.Silence = dur(10 * time.Second)
		w := newWorld(t, map[string]*gatewayv1.Group{"up": g}, "up", "up/a")
		w.run(5 * time.Second)
		ctx := context.Background()
		if e, err := w.tree.Evidence(ctx); err != nil || len(e.Missing) != 0 || e.Alive != 2 {
			t.Errorf("evidence %+v, %v", e, err)
		}
		release := make(chan struct{})
		w.mu.Lock()
		w.plans["up/a"].tick = func(uint32) error { <-release; return nil }
		w.plans["up/a"].started = func(uint32) error { <-release; return nil }
		w.mu.Unlock()
		w.run(30 * time.Second)
		if e, err := w.tree.Evidence(ctx); err != nil || len(e.Missing) != 1 || e.Missing[0].Path != "up" {
			t.Errorf("evidence %+v, %v", e, err)
		}
		close(release)
		w.run(time.Second)
		w.stop()
	})
}

func dur(d time.Duration) *durationpb.Duration { return durationpb.New(d) }
