package supervisor_test

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

var (
	seeds = flag.Int("storm.seeds", 2000, "how many fault schedules to play")
	seed  = flag.Uint64("storm.seed", 0, "play only this one")
)

// TestStorms plays random fault schedules against a whole tree in virtual time: actors, power
// functions and groups that fail, panic and hang, operators who restart, cycle and reconfigure,
// configs that change. Whatever happens: only the faulty actors and those below the same group as
// they miss a beat, faults that end are healed, those that do not end where the ladder says, hold
// times are kept, and the tree can be stopped at any time.
func TestStorms(t *testing.T) {
	n := uint64(*seeds)
	if testing.Short() || raced {
		n = min(n, 30)
	}
	first := uint64(1)
	if *seed != 0 {
		first, n = *seed, 1
	}
	for s := first; s < first+n; s++ {
		ok := t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { newStorm(t, s).play() })
		})
		if !ok {
			t.Fatalf("replay with: go test ./supervisor -run TestStorms -storm.seed=%d", s)
		}
	}
}

const (
	stormy = time.Minute
	calm   = 8 * time.Minute // worst case: three full restarts, a minute between the root's attempts, hold times, 90 s stuck
)

var sketches = map[string]sketch{
	"a": {
		{"quiet", nil},
		{"loose", nil},
		{"field", &gatewayv1.Group{Quarantine: dur(20 * time.Second)}},
		{"field/quiet", nil},
		{"field/line", &gatewayv1.Group{Ladder: []string{"restart 3 in 1m", "cycle 2 in 10m", "quarantine"}, Quarantine: dur(20 * time.Second), Silence: dur(40 * time.Second)}},
		{"field/line/one", rigged{}},
		{"field/line/two", rigged{}},
		{"field/line/a", "field/line/one"},
		{"field/line/b", "field/line/two"},
		{"field/line/quiet", nil},
		{"field/far", &gatewayv1.Group{Ladder: []string{"restart 2 in 1m", "escalate"}}},
		{"field/far/x", nil},
		{"field/far/quiet", nil},
		{"radio", &gatewayv1.Group{Ladder: []string{"restart 1 in 1m", "cycle 1 in 10m", "escalate"}}},
		{"radio/modem", rigged{}},
		{"radio/ip", "radio/modem"},
	},
	"b": {
		{"quiet", nil},
		{"loose", other{}},
		{"field", &gatewayv1.Group{Quarantine: dur(20 * time.Second)}},
		{"field/quiet", nil},
		{"field/line", &gatewayv1.Group{Ladder: []string{"restart 2 in 1m", "cycle 3 in 10m", "quarantine"}, Quarantine: dur(15 * time.Second)}},
		{"field/line/one", rigged{}},
		{"field/line/two", other{}},
		{"field/line/a", "field/line/one"},
		{"field/line/c", "field/line/one"},
		{"field/line/quiet", nil},
		{"field/near", &gatewayv1.Group{}},
		{"field/near/z", nil},
		{"radio", &gatewayv1.Group{Ladder: []string{"restart 1 in 1m", "cycle 1 in 10m", "escalate"}}},
		{"radio/modem", rigged{}},
		{"radio/ip", "radio/modem"},
	},
}

// storm is one schedule.
type storm struct {
	*plant
	r       *rand.Rand // of the test itself
	seed    uint64
	begin   time.Time
	release chan struct{}

	wild    bool            // operators and configs interfere, too
	shaken  bool            // groups themselves panic and hang
	faulty  map[string]bool // actors that misbehave during the storm
	forever string          // an actor that never stops failing
}

func newStorm(t *testing.T, seed uint64) *storm {
	r := rand.New(rand.NewPCG(seed, 0))
	s := &storm{plant: newPlant(t, sketches), r: r, seed: seed, begin: time.Now(), release: make(chan struct{}), faulty: map[string]bool{}}
	s.wild, s.shaken = r.IntN(2) == 0, r.IntN(4) == 0
	for _, path := range []string{"loose", "field/line/one", "field/line/two", "field/line/a", "field/line/b", "field/line/c", "field/far/x", "radio/modem", "radio/ip"} {
		if r.IntN(2) == 0 {
			s.faulty[path] = true
			s.misbehave(path, 1+r.IntN(20))
		}
	}
	if r.IntN(4) == 0 {
		s.forever = []string{"loose", "field/line/one", "field/line/a", "field/far/x", "radio/modem", "radio/ip"}[r.IntN(6)]
		s.faulty[s.forever] = true
		s.plans[s.forever].started = func(uint32) error { return errBoom }
	}
	for _, path := range slices.Sorted(maps.Keys(s.rigs)) {
		rig, die := s.rigs[path], s.die(path)
		if r.IntN(2) == 0 {
			odds := 1 + r.IntN(4)
			rig.fault = func(string) string { return die.roll(odds, "error", "panic", "hang", "stuck") }
		}
		if s.shaken && strings.HasPrefix(rig.path, "field/line") {
			rig.judged = func() {
				switch die.roll(60, "panic", "hang") {
				case "panic":
					panic("in the group")
				case "hang":
					time.Sleep(20 * time.Second)
				}
			}
		}
	}
	return s
}

// die draws the faults of one actor or rig, so that the seed determines them however goroutines are
// scheduled.
type die struct {
	mu    sync.Mutex
	r     *rand.Rand
	until time.Time
}

func (s *storm) die(name string) *die {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return &die{r: rand.New(rand.NewPCG(s.seed, h.Sum64())), until: s.begin.Add(stormy)}
}

// roll returns one of the faults with the given odds during the storm; "" for none.
func (d *die) roll(odds int, faults ...string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !time.Now().Before(d.until) || d.r.IntN(odds) != 0 {
		return ""
	}
	return faults[d.r.IntN(len(faults))]
}

// misbehave makes a plan fail at random beats during the storm.
func (s *storm) misbehave(path string, odds int) {
	p, die := s.plans[path], s.die(path)
	p.started = func(uint32) error {
		switch die.roll(odds, "fail", "hang") {
		case "fail":
			return errBoom
		case "hang":
			<-s.release
		}
		return nil
	}
	p.stopped = func() {
		switch die.roll(2*odds, "panic", "hang") {
		case "panic":
			panic("in stopped")
		case "hang":
			<-s.release
		}
	}
	p.tick = func(uint32) error {
		switch die.roll(odds, "panic", "error", "wedged", "hang") {
		case "panic":
			panic("boom")
		case "error":
			return errBoom
		case "wedged":
			return actors.Wedged(errBoom)
		case "hang":
			<-s.release
		}
		return nil
	}
}

func (s *storm) play() {
	stop := s.r.IntN(5) == 0
	end := stormy
	if stop {
		end = time.Duration(1+s.r.IntN(60)) * time.Second
	}
	for time.Since(s.begin) < end {
		s.run(time.Duration(1+s.r.IntN(4000)) * time.Millisecond)
		if s.wild {
			s.meddle()
		}
	}
	if !stop {
		s.run(calm)
		s.check()
	}
	s.stopInTime()
	close(s.release)
	time.Sleep(5 * time.Minute) // hanging calls return, timers of ended lives expire
	synctest.Wait()
	if n := s.sys.Workers(); n != 0 {
		s.t.Errorf("%d workers are left", n)
	}
	s.checkStory()
	if s.t.Failed() {
		s.t.Logf("wild %v, shaken %v, faulty %v, for ever %q", s.wild, s.shaken, s.faulty, s.forever)
		for _, p := range s.bus.All() {
			if h, ok := p.Message.(*actorv1.Healed); ok && testing.Verbose() {
				s.t.Logf("%8s %s %s in %s: %s", h.Time.AsTime().Sub(s.begin).Round(time.Millisecond), h.Child, h.Level, h.Delay.AsDuration(), h.Cause)
			}
		}
	}
}

// meddle is what operators do in the middle of a storm.
func (s *storm) meddle() {
	targets := []string{"loose", "field/line", "field/line/one", "field/line/two", "field/line/a", "field/far", "field/far/x", "radio", "radio/modem", "radio/ip"}
	cell := s.sys.Lookup(targets[s.r.IntN(len(targets))])
	answer := func(any, error) {}
	apply := func(m proto.Message) { s.sys.Ask(supervisor.Root, m, answer) }
	if cell == nil {
		return
	}
	switch s.r.IntN(12) {
	case 0, 1:
		_ = cell.Steer(actors.NewRequest(&actorv1.RestartRequest{}, answer))
	case 2, 3:
		_ = cell.Steer(actors.NewRequest(&actorv1.CycleRequest{}, answer))
	case 4:
		_ = cell.Steer(actors.NewRequest(&actorv1.UpdateConfigRequest{}, answer))
	case 5:
		apply(&configv1.ApplyRequest{Toml: "b"})
	case 6:
		apply(&configv1.ApplyRequest{Toml: "a"})
	case 7:
		apply(&configv1.ApplyRequest{Toml: "nonsense"})
	case 8:
		apply(&configv1.ReloadRequest{})
	case 9:
		apply(&configv1.RollbackRequest{})
	}
}

// check holds long after the last fault.
func (s *storm) check() {
	want := map[string]bool{supervisor.Root: true}
	s.tree.Config().Walk(func(n *config.Node) {
		if n.Path != "" {
			want[n.Path] = true
		}
	})
	for _, path := range s.sys.Paths() {
		if !want[path] {
			s.t.Errorf("%s is not in the config and still there", path)
		}
		delete(want, path)
		s.checkOne(path)
	}
	for path := range want {
		s.t.Errorf("%s is in the config and not there", path)
	}
	for _, rig := range s.rigs {
		if rig.off && s.state(rig.path) == actors.OK && !s.changesHands(rig) {
			s.t.Errorf("%s is off: %s", rig.path, rig.told())
		}
	}
	s.checkWatchdog()
}

func (s *storm) checkOne(path string) {
	cell, p := s.sys.Lookup(path), s.plans[path]
	above := path == supervisor.Root || strings.HasPrefix(s.forever, path+"/") || s.forever == path
	// An actor whose config names the one that never recovers is cycled with it.
	if unit := p != nil && s.forever != "" && strings.HasPrefix(path, s.forever[:strings.LastIndexByte(s.forever, '/')+1]); !above && !unit && cell.State() != actors.OK {
		s.t.Errorf("%s is %s (%s) long after the last fault", path, cell.State(), cell.Health().Cause)
	}
	if p == nil {
		return
	}
	if path == s.forever {
		s.checkForever(cell, p)
	}
	calmGroup := !s.wild && (!s.shaken || !strings.HasPrefix(path, "field/line/"))
	if strings.HasSuffix(path, "quiet") && path != "field/far/quiet" && (calmGroup || path == "quiet") {
		if p.lives.Load() != 1 || p.ticks.Load() < int64((stormy+calm)/time.Second) && !strings.HasPrefix(path, "field") {
			s.t.Errorf("%s did nothing wrong and had %d lives and %d ticks", path, p.lives.Load(), p.ticks.Load())
		}
	}
	if p.lives.Load() > 250 {
		s.t.Errorf("%s was restarted %d times in %s: no bound", path, p.lives.Load(), stormy+calm)
	}
}

// checkForever: an actor that never recovers is not forgotten, and not restarted too often.
func (s *storm) checkForever(cell *actors.Cell, p *plan) {
	if cell.State() == actors.OK {
		s.t.Errorf("%s can not be well", s.forever)
	}
	before := p.lives.Load()
	s.run(6 * time.Minute)
	if p.lives.Load() == before {
		s.t.Errorf("%s is in limbo: %s (%s), nobody tries it again", s.forever, cell.State(), cell.Health().Cause)
	}
}

// checkWatchdog: the watchdog starves if and only if the radio never recovers.
func (s *storm) checkWatchdog() {
	starved := len(s.starve) > 0
	for range len(s.starve) {
		if why := <-s.starve; !strings.HasPrefix(why, "radio") {
			s.t.Errorf("a field group starves the watchdog: %s", why)
		}
	}
	if strings.HasPrefix(s.forever, "radio") && !starved {
		s.t.Errorf("%s never gets well, and the watchdog does not starve", s.forever)
	}
}

// stopInTime: the tree stops within the deadlines of everything in it.
func (s *storm) stopInTime() {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := s.tree.Stop(ctx); err != nil {
		s.t.Error(err)
	}
	if took := time.Since(begin); took > 60*time.Second {
		s.t.Errorf("stopping took %s", took)
	}
}

// changesHands: a config that removes the owner of some hardware and brings it back starts afresh,
// whatever was done to it before.
func (s *storm) changesHands(r *rig) bool { return s.wild && r.path == "field/line/two" }

// checkStory: only what was healed recovers, and no hold time of hardware was violated.
func (s *storm) checkStory() {
	open := map[string]bool{}
	for _, p := range s.bus.All() {
		h, ok := p.Message.(*actorv1.Healed)
		if !ok {
			continue
		}
		if h.Level == "recovered" && !open[h.Child] {
			s.t.Errorf("%s recovered of nothing", h.Child)
		}
		open[h.Child] = h.Level != "recovered"
	}
	for _, rig := range s.rigs {
		if len(rig.crimes) > 0 && !s.changesHands(rig) {
			s.t.Errorf("%s: %q in %s", rig.path, rig.crimes, rig.told())
		}
	}
}
