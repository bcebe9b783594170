package supervisor_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	actorv1 "gatewayd/schemas/actor/v1"
	drillv1 "gatewayd/schemas/drill/v1"
)

func TestRestartEndsQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("quarantine")}, {"f/a", nil}, {"f/b", nil}}})
		p.change(func() { p.plans["f/a"].started = once(1, errBoom) })
		p.change(func() { p.plans["f/b"].started = once(1, actors.Broken(errBoom)) })
		p.run(3 * time.Second)
		p.wantState("f/a", actors.Quarantined)
		p.wantState("f/b", actors.Bad)
		for _, path := range []string{"f/a", "f/b"} {
			if _, err := p.steer(path, &actorv1.RestartRequest{}); err != nil {
				t.Error(err)
			}
		}
		p.run(3 * time.Second)
		p.wantState("f/a", actors.OK)
		p.wantState("f/b", actors.OK)
		p.wantLives("f/a:2 f/b:2")
		p.stop()
	})
}

func TestCycleHitsWhatDependsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {
			{"f", group("quarantine")}, {"f/one", rigged{}}, {"f/two", rigged{}}, {"f/a", "f/one"}, {"f/b", "f/two"}, {"f/c", nil},
		}})
		p.run(31 * time.Second)
		if _, err := p.steer("f/c", &actorv1.CycleRequest{}); err == nil || !strings.Contains(err.Error(), "f/c has no power to cycle") {
			t.Error(err)
		}
		if _, err := p.steer("f/a", &actorv1.CycleRequest{}); err != nil {
			t.Error(err)
		}
		p.wantState("f/a", actors.Gone)
		for _, path := range []string{"f/one", "f/a"} { // callers are told to try again
			_, err := p.soon(func(answer func(any, error)) { p.sys.Ask(path, &actorv1.GetConfigRequest{}, answer) })
			if err == nil || !strings.Contains(err.Error(), path+": it is being restarted: try again in a moment") {
				t.Error(err)
			}
		}
		p.run(time.Minute)
		p.wantLives("f/a:2 f/b:1 f/c:1 f/one:2 f/two:1")
		if _, err := p.steer("f", &actorv1.CycleRequest{}); err != nil { // everything it owns
			t.Error(err)
		}
		p.run(time.Minute)
		p.wantLives("f/a:3 f/b:2 f/c:1 f/one:3 f/two:2")
		if one, two := p.rigs["f/one"].told(), p.rigs["f/two"].told(); one != "off, on, off, on" || two != "off, on" {
			t.Errorf("one %q, two %q", one, two)
		}
		p.wantHealed() // an operator's request is not healing
		p.stop()
	})
}

// TestCyclesAreCountedForEachOwner: a line that is cycled too often does not use up its neighbour's
// budget.
func TestCyclesAreCountedForEachOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("cycle 1 in 1h", "quarantine")}, {"f/one", rigged{}}, {"f/two", rigged{}}}})
		p.change(func() { p.plans["f/one"].started = func(uint32) error { return errBoom } })
		p.run(time.Minute)
		p.change(func() { p.plans["f/two"].tick = once(1, errBoom) })
		p.run(30 * time.Second)
		p.wantHealed("f/one cycle", "f/one quarantine", "f/two cycle", "f/two recovered")
		p.stop()
	})
}

// TestFullRestartInTheMiddleOfACycle leaves no hardware switched off.
func TestFullRestartInTheMiddleOfACycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("quarantine")}, {"f/one", rigged{}}, {"f/a", "f/one"}}})
		p.run(31 * time.Second)
		if _, err := p.steer("f/one", &actorv1.CycleRequest{}); err != nil {
			t.Error(err)
		}
		p.run(500 * time.Millisecond)
		if _, err := p.steer("f", &actorv1.RestartRequest{}); err != nil {
			t.Error(err)
		}
		p.run(time.Second)
		p.wantState("f/a", actors.Starting)
		p.run(10 * time.Second)
		p.wantLives("f/a:2 f/one:2")
		rig := p.rigs["f/one"]
		if rig.off || rig.told() != "off, on" || len(rig.crimes) != 0 {
			t.Errorf("%s, off %v, %q", rig.told(), rig.off, rig.crimes)
		}
		p.wantState("f", actors.OK)
		p.stop()
	})
}

// TestCrashedGroupCanBeRestarted: a group that panicked cannot answer; the group above does.
func TestCrashedGroupCanBeRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("quarantine")}, {"f/g", group("quarantine")}, {"f/g/one", rigged{}}}})
		p.run(3 * time.Second)
		p.rigs["f/g/one"].change(func(r *rig) { r.judged = func() { panic("in the group") } })
		_, _ = p.steer("f/g/one", &actorv1.CycleRequest{})
		p.wantState("f/g", actors.Quarantined)
		p.rigs["f/g/one"].change(func(r *rig) { r.judged = nil })
		if _, err := p.steer("f/g", &actorv1.RestartRequest{}); err != nil {
			t.Error(err)
		}
		p.run(5 * time.Second)
		p.wantState("f/g", actors.OK)
		p.wantState("f/g/one", actors.OK)
		p.stop()
	})
}

func TestRootRestartStopsInOrderAndStopWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"a", nil}, {"f", group("quarantine")}, {"f/b", nil}}})
		p.run(3 * time.Second)
		for range 2 {
			if _, err := p.steer("root", &actorv1.RestartRequest{}); err != nil {
				t.Error(err)
			}
		}
		p.run(3 * time.Second)
		p.wantState("root", actors.OK)
		p.wantState("f/b", actors.OK)
		release := make(chan struct{})
		p.change(func() { p.plans["f/b"].stopped = func() { <-release } })
		_, _ = p.steer("root", &actorv1.RestartRequest{}) // and during that:
		begin := time.Now()
		p.stop()
		if took := time.Since(begin) - time.Minute; took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		p.wantState("a", actors.Gone)
		close(release)
		p.run(time.Minute)
	})
}

func TestDrills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("restart 3 in 1m", "quarantine")}, {"f/one", rigged{}}, {"f/a", "f/one"}, {"loose", nil}}})
		p.run(31 * time.Second)
		for fault, want := range map[string]string{
			"f/none kill": "did you mean", "f kill": "name one of its actors", "f/none power": "no actor", "f/a melt": "does not support fault",
			"one kill": `did you mean "f/one"`, "nobody starve": "no actor has the path \"nobody\"", "loose power": "loose has no power to cycle: name ",
		} {
			path, fault, _ := strings.Cut(fault, " ")
			if _, err := p.ask(&drillv1.InjectRequest{Path: path, Fault: fault}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s at %s: %v, want %q", fault, path, err, want)
			}
		}
		for _, fault := range []string{"kill", "power"} {
			if _, err := p.ask(&drillv1.InjectRequest{Path: "f/a", Fault: fault}); err != nil {
				t.Error(err)
			}
			p.run(10 * time.Second)
		}
		p.wantHealed("f/a restart", "f/a recovered")
		p.wantLives("f/a:3 f/one:2 loose:1")
		if _, err := p.ask(&drillv1.InjectRequest{Path: "f", Fault: "starve"}); err != nil || len(p.starve) != 1 {
			t.Errorf("%v, %d", err, len(p.starve))
		}
		p.stop()
	})
}
