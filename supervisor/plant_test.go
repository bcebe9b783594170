package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/schemas"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// sketch is a short form of a config, in the order of the file: a group is {"field",
// &gatewayv1.Group{…}}, a puppet {"field/a", nil}, one that owns power {"field/line", rigged{}} and
// one that depends on it {"field/b", "field/line"}.
type sketch []placed

type placed struct {
	path string
	what any
}

// rigged marks an actor that owns power; other marks one of another kind.
type (
	rigged struct{}
	other  struct{}
)

func (s sketch) tree(text string) *config.Tree {
	rootConfig := &gatewayv1.Gateway{Gateway: "test"}
	schemas.Defaults(rootConfig)
	nodes := map[string]*config.Node{"": {Config: rootConfig}}
	for _, d := range s {
		n := &config.Node{Path: d.path, Kind: "puppet", Config: &structpb.Struct{}}
		switch what := d.what.(type) {
		case *gatewayv1.Group:
			c := proto.CloneOf(what)
			schemas.Defaults(c)
			n.Kind, n.Config = "", c
		case *gatewayv1.Gateway:
			nodes[""].Config = what
			schemas.Defaults(what)
			continue
		case rigged:
			n.Kind, n.Config = "rig", &modbusv1.TcpLink{Address: d.path} // names its rig
		case other:
			n.Kind = "other"
		case string:
			n.Kind, n.Config = "unit", &modbusv1.Unit{Link: what, Unit: 1}
		case proto.Message:
			n.Kind, n.Config = "live", what
		}
		up, _, _ := cutLast(d.path)
		nodes[up].Children = append(nodes[up].Children, n)
		nodes[d.path] = n
	}
	return &config.Tree{Root: nodes[""], Text: config.NewText([]byte(text))}
}

// plant is a tree in virtual time whose config can change and whose power can fail.
type plant struct {
	*world
	source *fakeSource
	rigs   map[string]*rig
}

// newPlant makes a plant whose first run starts the sketch called "a".
func newPlant(t *testing.T, sketches map[string]sketch, opts ...func(*supervisor.Options)) *plant {
	p := &plant{world: &world{t: t, bus: &actorstest.Recorder{}, plans: map[string]*plan{}, starve: make(chan string, 100)}, rigs: map[string]*rig{}}
	p.sys = actors.NewSystem("test", p.bus, testLog)
	p.source = &fakeSource{trees: map[string]*config.Tree{}, file: "a"}
	for text, s := range sketches {
		p.source.trees[text] = s.tree(text)
		for _, d := range s {
			switch d.what.(type) {
			case *gatewayv1.Group, *gatewayv1.Gateway:
			default:
				p.plans[d.path] = &plan{}
			}
			if d.what == (rigged{}) {
				p.rigs[d.path] = &rig{path: d.path}
			}
		}
	}
	o := supervisor.Options{
		System: p.sys, Source: p.source, Rand: func() float64 { return 0.5 }, Kinds: p.kinds(),
		Starve: func(path, why string) {
			select {
			case p.starve <- path + ": " + why:
			default:
			}
		},
	}
	for _, opt := range opts {
		opt(&o)
	}
	p.tree = supervisor.New(o)
	p.world.start = func() {
		if err := p.tree.Start(p.source.trees["a"]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *plant) kinds() []actors.Kind {
	build := func(*structpb.Struct) actors.Actor { return puppet{p.world} }
	kind := func(name string) actors.Kind { return actors.Kind{Name: name, Doc: "does as told"} }
	rigKind, live := kind("rig"), kind("live")
	rigKind.Power = func(m proto.Message) *actors.Power {
		return p.rigs[m.(*modbusv1.TcpLink).Address].power()
	}
	live.Live = true
	return []actors.Kind{
		actors.Define(kind("puppet"), build), actors.Define(kind("other"), build),
		actors.Define(rigKind, func(*modbusv1.TcpLink) actors.Actor { return puppet{p.world} }),
		actors.Define(kind("unit"), func(*modbusv1.Unit) actors.Actor { return puppet{p.world} }),
		actors.Define(live, func(*gatewayv1.Watchdog) actors.Actor { return puppet{p.world} }),
	}
}

// outcome is the answer to a request.
type outcome struct {
	msg any
	err error
}

// soon returns the answer to what send sends, if it arrives at once.
func (p *plant) soon(send func(answer func(msg any, err error))) (any, error) {
	done := make(chan outcome, 1)
	send(func(msg any, err error) { done <- outcome{msg, err} })
	p.run(time.Millisecond)
	select {
	case o := <-done:
		return o.msg, o.err
	default:
		return nil, errNoAnswer
	}
}

var errNoAnswer = errors.New("no answer yet")

// ask sends a request to the root as actor config does.
func (p *plant) ask(m proto.Message) (any, error) {
	return p.soon(func(answer func(any, error)) { p.sys.Ask(supervisor.Root, m, answer) })
}

// steer sends an operator's command to an actor.
func (p *plant) steer(path string, m proto.Message) (any, error) {
	return p.soon(func(answer func(any, error)) {
		if err := p.sys.Lookup(path).Steer(actors.NewRequest(m, answer)); err != nil {
			answer(nil, err)
		}
	})
}

func (p *plant) state(path string) string {
	if c := p.sys.Lookup(path); c != nil {
		return c.State()
	}
	return "not there"
}

func (p *plant) wantState(path, want string) {
	p.t.Helper()
	if s := p.state(path); s != want {
		p.t.Errorf("%s is %s, want %s", path, s, want)
	}
}

// rig is a piece of hardware whose power is switched. It reports violations of its hold times.
type rig struct {
	path string

	mu       sync.Mutex
	off      bool
	since    time.Time
	story    []string
	crimes   []string
	fault    func(way string) string // "", "error", "panic", "hang" (obeys ctx), "stuck" (does not)
	judged   func()                  // runs in the group's mailbox
	sleeping time.Duration           // how long "stuck" lasts; default 90 s
}

// change changes the rig while the tree runs.
func (r *rig) change(fn func(*rig)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(r)
}

var hold = &gatewayv1.Power{Off: dur(5 * time.Second), MinOff: dur(2 * time.Second), On: dur(10 * time.Second), HoldOn: dur(30 * time.Second)}

func (r *rig) power() *actors.Power {
	r.mu.Lock()
	judged := r.judged
	r.mu.Unlock()
	if judged != nil {
		judged()
	}
	return &actors.Power{
		Off:  func(ctx context.Context) error { return r.toggle(ctx, "off") },
		On:   func(ctx context.Context) error { return r.toggle(ctx, "on") },
		Hold: hold,
	}
}

func (r *rig) toggle(ctx context.Context, way string) error {
	r.mu.Lock()
	fault, stuck := "", r.sleeping
	if r.fault != nil {
		fault = r.fault(way)
	}
	now := time.Now()
	if least := hold.HoldOn.AsDuration(); way == "off" && !r.off && !r.since.IsZero() && now.Sub(r.since) < least {
		r.crimes = append(r.crimes, fmt.Sprintf("switched off %s after it was switched on", now.Sub(r.since)))
	}
	if least := hold.MinOff.AsDuration(); way == "on" && r.off && now.Sub(r.since) < least {
		r.crimes = append(r.crimes, fmt.Sprintf("switched on %s after it was switched off", now.Sub(r.since)))
	}
	r.story = append(r.story, strings.TrimSpace(way+" "+fault))
	r.mu.Unlock()
	switch fault {
	case "error":
		return errors.New("the relay does not answer")
	case "panic":
		panic("in the power function")
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "stuck":
		if stuck == 0 {
			stuck = 90 * time.Second
		}
		time.Sleep(stuck)
		return errors.New("stuck for long")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off, r.since = way == "off", time.Now()
	return nil
}

func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.story, ", ")
}

// fakeSource is a config file whose text is the name of a sketch.
type fakeSource struct {
	trees map[string]*config.Tree

	mu      sync.Mutex
	file    string
	history []string
	slow    time.Duration
	panics  bool
	full    bool

	rejected string
}

func (s *fakeSource) Read() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == "" {
		return nil, errors.New("no such file")
	}
	return []byte(s.file), nil
}

func (s *fakeSource) Parse(text []byte) (*config.Tree, config.Problems) {
	s.mu.Lock()
	slow, panics := s.slow, s.panics
	s.mu.Unlock()
	time.Sleep(slow)
	if panics {
		panic("in the parser")
	}
	if t := s.trees[string(text)]; t != nil {
		return t, nil
	}
	return nil, config.Problems{{File: "test.toml", Line: 1, Message: "no such sketch"}}
}

func (s *fakeSource) Write(text []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return syscall.ENOSPC
	}
	s.file = string(text)
	return nil
}

func (s *fakeSource) Reject() (file, beside string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = s.file
	return "test.toml", "test.toml.rejected", nil
}

func (s *fakeSource) Keep(text []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return uint64(len(s.history)) + 1, syscall.ENOSPC
	}
	s.history = append(s.history, string(text))
	return uint64(len(s.history)), nil
}

func (s *fakeSource) Versions() ([]*configv1.Version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*configv1.Version
	for i := len(s.history) - 1; i >= 0; i-- {
		all = append(all, &configv1.Version{Version: uint64(i + 1), Toml: s.history[i]})
	}
	return all, nil
}

func (s *fakeSource) now() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file
}
