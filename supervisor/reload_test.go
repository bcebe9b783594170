package supervisor_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// applied applies a sketch and lists what changed, or what is wrong.
func (p *plant) applied(text string) string {
	p.t.Helper()
	resp, err := p.ask(&configv1.ApplyRequest{Toml: text})
	if err != nil {
		return err.Error()
	}
	r := resp.(*configv1.ApplyResponse)
	var all []string
	for _, c := range r.Changes {
		all = append(all, c.Action+" "+c.Path)
	}
	for _, problem := range r.Problems {
		all = append(all, "problem "+problem.Message)
	}
	return strings.Join(all, ", ")
}

func (p *plant) wantApplied(text, want string) {
	p.t.Helper()
	if got := p.applied(text); got != want {
		p.t.Errorf("apply %s: got %q, want %q", text, got, want)
	}
}

func (p *plant) wantLives(want string) {
	p.t.Helper()
	var got []string
	for _, path := range p.sys.Paths() {
		if cell := p.sys.Lookup(path); cell.Kind().Name != "group" {
			got = append(got, fmt.Sprintf("%s:%d", path, cell.Life()))
		}
	}
	if s := strings.Join(got, " "); s != want {
		p.t.Errorf("lives %s, want %s", s, want)
	}
}

func (p *plant) rolledBack() (all []string) {
	for _, m := range p.bus.All() {
		if r, ok := m.Message.(*configv1.RolledBack); ok {
			all = append(all, strings.Join(r.Unhealthy, "; "))
		}
	}
	return all
}

func group(words ...string) *gatewayv1.Group { return &gatewayv1.Group{Ladder: words} }

func fields(name, value string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{name: structpb.NewStringValue(value)}}
}

func TestReloadTouchesOnlyWhatDiffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a":     {{"config", nil}, {"f", group("quarantine")}, {"f/a", nil}, {"f/b", nil}, {"f/live", &gatewayv1.Watchdog{Device: "1"}}, {"g", group("quarantine")}, {"g/x", nil}},
			"more":  {{"config", nil}, {"f", group("quarantine")}, {"f/a", nil}, {"f/b", nil}, {"f/c", nil}, {"f/live", &gatewayv1.Watchdog{Device: "2"}}, {"g", group("quarantine")}, {"g/x", nil}},
			"kinds": {{"config", nil}, {"f", group("quarantine")}, {"f/a", other{}}, {"f/b", nil}, {"f/live", &gatewayv1.Watchdog{Device: "2"}}, {"g", nil}},
			"moved": {{"config", nil}, {"f", group("quarantine")}, {"f/a", other{}}, {"f/live", &gatewayv1.Watchdog{Device: "2"}}, {"h", group("quarantine")}, {"h/b", nil}},
		})
		p.run(3 * time.Second)
		p.wantApplied("a", "")
		p.wantApplied("more", "reconfigure f/live, start f/c")
		p.run(time.Minute)
		p.wantLives("config:1 f/a:1 f/b:1 f/c:1 f/live:1 g/x:1")
		if got := p.source.now(); got != "more" {
			t.Errorf("the file is %q", got)
		}
		p.wantApplied("kinds", "stop f/c, restart f/a, restart g")
		p.run(time.Minute)
		p.wantLives("config:1 f/a:1 f/b:1 f/live:1 g:1")
		p.wantApplied("moved", "stop f/b, stop g, start h")
		p.run(time.Minute)
		p.wantLives("config:1 f/a:1 f/live:1 h/b:1")
		for _, path := range p.sys.Paths() {
			p.wantState(path, actors.OK)
		}
		if back := p.rolledBack(); len(back) != 0 {
			t.Errorf("rolled back: %q", back)
		}
		p.stop()
	})
}

func TestBadConfigChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		renamed := sketch{{"", &gatewayv1.Gateway{Gateway: "other"}}, {"a", nil}}
		p := newPlant(t, map[string]sketch{"a": {{"a", nil}}, "renamed": renamed, "taken": {{"a", nil}, {"root", nil}}})
		p.run(3 * time.Second)
		p.wantApplied("nonsense", "problem no such sketch")
		if got := p.applied("renamed"); !strings.Contains(got, "restart the daemon") {
			t.Error(got)
		}
		if got, err := p.ask(&configv1.CheckRequest{Toml: "renamed"}); err != nil || !strings.Contains(fmt.Sprint(got), "restart the daemon") {
			t.Error(got, err) // a check reports what an apply would refuse
		}
		if got := p.applied("taken"); !strings.Contains(got, "choose another") {
			t.Error(got)
		}
		p.source.mu.Lock()
		p.source.panics = true
		p.source.mu.Unlock()
		if got := p.applied("a"); !strings.Contains(got, "in the parser") {
			t.Error(got)
		}
		p.source.mu.Lock()
		p.source.panics, p.source.file = false, ""
		p.source.mu.Unlock()
		if _, err := p.ask(&configv1.ReloadRequest{}); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Error(err)
		}
		if _, err := p.ask(&configv1.RollbackRequest{Version: 7}); err == nil || !strings.Contains(err.Error(), "no such version") {
			t.Error(err)
		}
		p.run(time.Minute)
		p.wantLives("a:1")
		if len(p.source.history) != 0 {
			t.Errorf("history %q", p.source.history)
		}
		p.stop()
	})
}

func TestTwoChangesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"a", nil}}, "b": {{"a", nil}, {"b", nil}}, "c": {{"a", nil}, {"c", nil}}})
		p.source.slow = time.Second
		p.run(3 * time.Second)
		if got := p.applied("b"); got != "no answer yet" {
			t.Error(got)
		}
		if got := p.applied("c"); !strings.Contains(got, "under way") {
			t.Error(got)
		}
		p.run(2 * time.Second)
		p.wantState("b", actors.OK)
		p.wantState("c", "not there")
		p.source.mu.Lock()
		p.source.slow = 0
		p.source.mu.Unlock()
		p.wantApplied("c", "stop b, start c") // while b is still on probation
		p.run(time.Minute)
		if back := p.rolledBack(); len(back) != 0 {
			t.Errorf("rolled back: %q", back)
		}
		p.stop()
	})
}

func TestUnhealthyConfigIsRolledBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a":   {{"config", nil}, {"f", group("restart 1 in 1m", "quarantine")}, {"f/a", nil}},
			"bad": {{"config", nil}, {"f", group("restart 1 in 1m", "quarantine")}, {"f/a", nil}, {"f/bad", nil}},
		})
		p.change(func() { p.plans["f/bad"].started = func(uint32) error { return errBoom } })
		p.run(3 * time.Second)
		p.wantApplied("bad", "start f/bad")
		p.run(time.Minute)
		if back := p.rolledBack(); len(back) != 1 || !strings.Contains(back[0], "f/bad: ") {
			t.Errorf("rolled back %q", back)
		}
		p.wantState("f/bad", "not there")
		if f := p.source.now(); f != "a" {
			t.Errorf("the file is %q", f)
		}
		p.wantLives("config:1 f/a:1")
		// An actor that was unhealthy before is no reason: the last good config is not judged by
		// it.
		p.change(func() { p.plans["f/a"].tick = func(uint32) error { return errBoom } })
		p.run(2 * time.Minute)
		p.change(func() { p.plans["f/bad"].started = nil })
		p.wantApplied("bad", "start f/bad")
		p.run(2 * time.Minute)
		if back := p.rolledBack(); len(back) != 1 {
			t.Errorf("rolled back %q", back)
		}
		p.wantState("f/bad", actors.OK)
		p.stop()
	})
}

// TestWhatNeverProvedItselfIsNoGoodConfig: of two changes in a row the second is rolled back to the
// config before the first.
func TestWhatNeverProvedItselfIsNoGoodConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"a", nil}}, "b": {{"a", nil}, {"b", nil}}, "c": {{"a", nil}, {"b", nil}, {"c", nil}}})
		p.change(func() { p.plans["b"].started = func(uint32) error { return errBoom } })
		p.run(3 * time.Second)
		p.wantApplied("b", "start b")
		p.run(10 * time.Second)
		p.wantApplied("c", "start c")
		p.run(time.Minute)
		p.wantState("b", "not there")
		p.wantState("c", "not there")
		if back := p.rolledBack(); len(back) > 1 || p.source.now() != "a" {
			t.Errorf("rolled back %q to %q", back, p.source.now())
		}
		p.stop()
	})
}

// TestEachChangeIsJudgedByItself: of two changes in a row a good one stays if the other does harm,
// whichever that is and whenever it is judged.
func TestEachChangeIsJudgedByItself(t *testing.T) {
	f := func(more ...placed) sketch {
		return append(sketch{{"config", nil}, {"f", group("restart 1 in 1m", "quarantine")}, {"f/a", nil}}, more...)
	}
	for name, tt := range map[string]struct {
		bad   string // the actor that fails
		after time.Duration
		want  string
	}{
		"the second at once":  {"f/c", time.Second, "b"},
		"the second later":    {"f/c", 20 * time.Second, "b"},
		"the first":           {"f/b", 20 * time.Second, "a"},
		"what both concerned": {"f/a", 20 * time.Second, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := f(placed{"f/b", nil}, placed{"f/c", nil})
				if tt.bad == "f/a" {
					c[2].what = other{}
				}
				p := newPlant(t, map[string]sketch{"a": f(), "b": f(placed{"f/b", nil}), "c": c})
				p.run(3 * time.Second)
				p.source.mu.Lock()
				p.source.history = []string{"a"}
				p.source.mu.Unlock()
				fail := func() { p.plans[tt.bad].started = func(uint32) error { return errBoom } }
				if tt.bad != "f/a" { // which exists from the beginning
					p.change(fail)
				}
				p.applied("b")
				p.run(tt.after)
				p.change(fail)
				p.applied("c")
				p.run(2 * time.Minute)
				if back := p.rolledBack(); len(back) != 1 || !strings.HasPrefix(back[0], tt.bad+": ") || p.source.now() != tt.want {
					t.Errorf("rolled back %q to %q", back, p.source.now())
				}
				if p.source.rejected != "c" {
					t.Errorf("%q was put beside the file", p.source.rejected)
				}
				for _, m := range p.bus.All() {
					if r, ok := m.Message.(*configv1.RolledBack); ok && (r.Rejected != "test.toml.rejected" || r.File != "test.toml" ||
						p.source.history[r.Restored-1] != tt.want || p.source.history[r.Version-1] != tt.want || r.Restored == r.Version) {
						t.Errorf("told %v", r)
					}
				}
				p.stop()
			})
		})
	}
}

// TestWhatTheDiskDidNotTake: a config that could not be written is in force, and is written when
// the disk has space; a file that was edited meanwhile takes precedence.
func TestWhatTheDiskDidNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"config", nil}, {"a", nil}}, "b": {{"config", nil}, {"b", nil}}})
		full := func(now bool) {
			p.source.mu.Lock()
			defer p.source.mu.Unlock()
			p.source.full = now
		}
		keep := func() string {
			resp, err := p.ask(&configv1.KeepRequest{})
			if err != nil {
				return err.Error()
			}
			return resp.(*configv1.KeepResponse).Unkept
		}
		p.run(3 * time.Second)
		if why := keep(); why != "" {
			t.Error(why)
		}
		full(true)
		resp, err := p.ask(&configv1.ApplyRequest{Toml: "b"})
		if err != nil || !strings.Contains(resp.(*configv1.ApplyResponse).Unkept, "no space left") {
			t.Fatal(resp, err)
		}
		p.wantState("b", actors.OK)
		if why := keep(); !strings.Contains(why, "no space left") || !strings.Contains(why, "the config file") {
			t.Error(why)
		}
		full(false)
		if why := keep(); why != "" || p.source.now() != "b" {
			t.Errorf("%q, the file is %q", why, p.source.now())
		}
		full(true)
		p.applied("a")
		p.source.mu.Lock()
		p.source.file, p.source.full = "mine", false
		p.source.mu.Unlock()
		if why := keep(); why != "" || p.source.now() != "mine" {
			t.Errorf("%q, the file is %q", why, p.source.now())
		}
		p.run(time.Minute)
		p.stop()
	})
}

// TestFullRestartKeepsTheReload: a group that is restarted as a whole starts with the present
// config, and with what an operator has changed since.
func TestFullRestartKeepsTheReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a": {{"f", group("quarantine")}, {"f/g", group("escalate")}, {"f/g/a", &gatewayv1.Watchdog{}}, {"f/g/old", nil}},
			"b": {{"f", group("quarantine")}, {"f/g", group("escalate")}, {"f/g/a", &gatewayv1.Watchdog{}}, {"f/g/new", nil}},
		})
		p.run(3 * time.Second)
		p.wantApplied("b", "stop f/g/old, start f/g/new")
		if _, err := p.steer("f/g/a", &actorv1.UpdateConfigRequest{Config: fields("device", "/dev/x")}); err != nil {
			t.Error(err)
		}
		if _, err := p.steer("f/g/a", &actorv1.UpdateConfigRequest{Toml: "timeout = \"90s\" # long"}); err != nil {
			t.Error(err)
		}
		for toml, want := range map[string]string{
			"":                 "set either config or toml",
			"timeuot = \"1m\"": `timeuot: unknown key, did you mean "timeout"?`,
			"timeout = \"1m":   "toml:1:",
			"timeout = \"2h\"": "timeout: 2h is out of range",
			"[timeout]\nx = 1": "timeout: expected a duration",
		} {
			if _, err := p.steer("f/g/a", &actorv1.UpdateConfigRequest{Toml: toml}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %s", toml, err, want)
			}
		}
		for range 2 {
			if _, err := p.steer("f", &actorv1.RestartRequest{}); err != nil {
				t.Error(err)
			}
			p.run(10 * time.Second)
		}
		if got := strings.Join(p.sys.Paths(), " "); got != "f f/g f/g/a f/g/new root" {
			t.Errorf("there are %s", got)
		}
		if cfg := p.sys.Lookup("f/g/a").Config().(*gatewayv1.Watchdog); cfg.Device != "/dev/x" || cfg.Timeout.AsDuration() != 90*time.Second {
			t.Errorf("config %v", cfg)
		}
		for _, path := range p.sys.Paths() {
			p.wantState(path, actors.OK)
		}
		p.stop()
	})
}

// TestChangeOfAGroupThatDoesNotAnswer: a change whose group is abandoned does not hold up the rest,
// and the group's next life has it.
func TestChangeOfAGroupThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a": {{"f", group("quarantine")}, {"f/line", rigged{}}, {"f/a", nil}},
			"b": {{"f", group("quarantine")}, {"f/line", rigged{}}, {"f/b", nil}, {"c", nil}},
		})
		p.run(3 * time.Second)
		var hung atomic.Bool
		p.rigs["f/line"].change(func(r *rig) {
			r.judged = func() {
				if !hung.Swap(true) {
					time.Sleep(time.Minute)
				}
			}
		})
		if _, err := p.steer("f/line", &actorv1.CycleRequest{}); err == nil {
			t.Error("the group hangs and answers")
		}
		if got := p.applied("b"); got != "no answer yet" {
			t.Error(got)
		}
		p.run(2 * time.Minute)
		if got := strings.Join(p.sys.Paths(), " "); got != "c f f/b f/line root" {
			t.Errorf("there are %s", got)
		}
		for _, path := range p.sys.Paths() {
			p.wantState(path, actors.OK)
		}
		p.wantApplied("b", "")
		p.stop()
	})
}

func TestGroupSettingsChangeLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a": {{"f", group("restart 9 in 1m", "quarantine")}, {"f/a", nil}},
			"b": {{"f", group("quarantine")}, {"f/a", nil}},
		})
		p.run(3 * time.Second)
		p.wantApplied("b", "reconfigure f")
		p.change(func() { p.plans["f/a"].tick = func(uint32) error { return errBoom } })
		p.run(2 * time.Second)
		p.wantHealed("f/a quarantine")
		p.change(func() { p.plans["f/a"].tick = nil })
		if _, err := p.steer("f", &actorv1.UpdateConfigRequest{Config: &structpb.Struct{Fields: map[string]*structpb.Value{
			"ladder": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("reboot now")}}),
		}}}); err == nil || !strings.Contains(err.Error(), "is not a step") {
			t.Errorf("a ladder without sense: %v", err)
		}
		p.run(time.Minute)
		p.stop()
	})
}

func TestSafeModeStartsNoGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a": {{"top", nil}, {"f", group("quarantine")}, {"f/a", nil}},
			"b": {{"top", nil}, {"f", group("quarantine")}, {"f/b", nil}, {"g", group("quarantine")}, {"g/c", nil}},
		}, func(o *supervisor.Options) { o.SafeMode = true })
		p.run(3 * time.Second)
		p.wantState("f", actors.Gone)
		p.wantApplied("b", "stop f/a, start f/b, start g")
		p.run(time.Minute)
		p.wantState("top", actors.OK)
		p.wantState("g", actors.Gone)
		if _, err := p.steer("f", &actorv1.RestartRequest{}); err != nil { // an operator may
			t.Error(err)
		}
		p.run(time.Minute)
		p.wantState("f/b", actors.OK)
		p.wantState("f/a", "not there")
		p.stop()
	})
}

// A config has settled when it has passed its probation and is on disk: not while it may be rolled
// back, or a restart would use another one.
func TestAConfigSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var settled []string
		f := func(more ...placed) sketch {
			return append(sketch{{"config", nil}, {"f", group("restart 1 in 1m", "quarantine")}, {"f/a", nil}}, more...)
		}
		p := newPlant(t, map[string]sketch{"a": f(), "b": f(placed{"f/b", nil}), "bad": f(placed{"f/bad", nil})}, func(o *supervisor.Options) {
			o.Settled = func(c *config.Tree) {
				mu.Lock()
				defer mu.Unlock()
				settled = append(settled, string(c.Text.Bytes()))
			}
		})
		p.change(func() { p.plans["f/bad"].started = func(uint32) error { return errBoom } })
		want := func(all ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if settled = slices.Compact(settled); !slices.Equal(settled, all) {
				t.Errorf("settled %q, want %q", settled, all)
			}
			if told := p.plans["f/a"].settled.Swap(0); (told > 0) != (len(all) > 0) {
				t.Errorf("f/a was told %d times that the config has settled, want %q", told, all)
			}
			settled = nil
		}
		p.run(time.Second)
		if _, err := p.ask(&configv1.KeepRequest{}); err != nil { // as actor config does when it starts
			t.Error(err)
		}
		p.run(19 * time.Second)
		want()
		p.wantApplied("b", "start f/b") // before the one that it started with has settled
		p.run(20 * time.Second)
		want()
		p.wantApplied("a", "stop f/b") // back again: it has nothing to prove
		p.run(time.Minute)
		want("a")
		p.wantApplied("bad", "start f/bad")
		p.run(20 * time.Second)
		want()
		p.run(time.Minute)
		want("a")
		p.wantApplied("b", "start f/b")
		p.run(time.Minute)
		want("b")
		p.source.mu.Lock()
		p.source.full = true
		p.source.mu.Unlock()
		p.wantApplied("a", "stop f/b")
		p.run(2 * time.Minute)
		want()
		p.source.mu.Lock()
		p.source.full = false
		p.source.mu.Unlock()
		if _, err := p.ask(&configv1.KeepRequest{}); err != nil {
			t.Error(err)
		}
		p.run(time.Minute)
		want("a")
		p.stop()
	})
}

// TestUpdatedActorOfAGroupThatDoesNotAnswer: a reload replaces what UpdateConfig has changed, also
// if the group is abandoned and carries the change out in its next life.
func TestUpdatedActorOfAGroupThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{
			"a": {{"f", group("quarantine")}, {"f/line", rigged{}}, {"f/live", &gatewayv1.Watchdog{Device: "1"}}},
			"b": {{"f", group("quarantine")}, {"f/line", rigged{}}, {"f/live", &gatewayv1.Watchdog{Device: "2"}}},
		})
		p.run(3 * time.Second)
		if _, err := p.steer("f/live", &actorv1.UpdateConfigRequest{Config: fields("device", "/dev/x")}); err != nil {
			t.Error(err)
		}
		var hung atomic.Bool
		p.rigs["f/line"].change(func(r *rig) {
			r.judged = func() {
				if !hung.Swap(true) {
					time.Sleep(time.Minute)
				}
			}
		})
		if _, err := p.steer("f/line", &actorv1.CycleRequest{}); err == nil {
			t.Error("the group hangs and answers")
		}
		if got := p.applied("b"); got != "no answer yet" {
			t.Error(got)
		}
		p.run(2 * time.Minute)
		if cfg := p.sys.Lookup("f/live").Config().(*gatewayv1.Watchdog); cfg.Device != "2" {
			t.Errorf("config %v", cfg)
		}
		p.stop()
	})
}

// TestAVerdictDuringARestartOfTheRoot: neither the verdict on a change nor the news that a config has
// settled is lost if all actors are being stopped at that moment.
func TestAVerdictDuringARestartOfTheRoot(t *testing.T) {
	f := func(more ...placed) sketch {
		return append(sketch{{"config", nil}, {"f", group("restart 1 in 1m", "quarantine")}, {"f/a", nil}}, more...)
	}
	for name, tt := range map[string]struct{ next, want string }{
		"of the first config": {"", "a"},
		"of a good one":       {"b", "b"},
		"of a bad one":        {"bad", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settled := ""
				p := newPlant(t, map[string]sketch{"a": f(), "b": f(placed{"f/b", nil}), "bad": f(placed{"f/bad", nil})}, func(o *supervisor.Options) {
					o.Settled = func(c *config.Tree) { settled = string(c.Text.Bytes()) }
				})
				p.change(func() {
					p.plans["f/bad"].started = func(uint32) error { return errBoom }
					p.plans["f/a"].stopped = func() { time.Sleep(3 * time.Second) }
				})
				if p.run(time.Second); tt.next != "" {
					p.run(time.Minute)
					settled = ""
					p.applied(tt.next)
				}
				p.run(28 * time.Second)
				if _, err := p.steer("root", &actorv1.RestartRequest{}); err != nil {
					t.Error(err)
				}
				p.run(2 * time.Minute)
				if settled != tt.want || p.source.now() != tt.want {
					t.Errorf("settled %q, the file is %q", settled, p.source.now())
				}
				p.stop()
			})
		})
	}
}
