package supervisor_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/actors"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// TestSilenceIsCycledAndTold: hardware without any proof of work is cycled, and every such decision
// is an event.
func TestSilenceIsCycledAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", &gatewayv1.Group{Silence: dur(20 * time.Second)}}, {"f/one", rigged{}}}})
		var fixed atomic.Bool
		p.plans["f/one"].started = func(uint32) error {
			if !fixed.Load() {
				return actors.Broken(errBoom) // it proves no work
			}
			return nil
		}
		p.run(25 * time.Second)
		fixed.Store(true)
		p.run(time.Minute)
		p.wantHealed("f/one broken", "f/one cycle", "f/one recovered")
		if story := p.rigs["f/one"].told(); story != "off, on" {
			t.Error(story)
		}
		p.stop()
	})
}

// TestLateResultOfAnEarlierCycle: the result of an Off that hung for long and returns in the middle
// of the next cycle is not taken for that of the next cycle.
func TestLateResultOfAnEarlierCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", group("cycle 9 in 1h", "quarantine")}, {"f/one", rigged{}}}})
		first := true
		p.rigs["f/one"].sleeping = 45 * time.Second
		p.rigs["f/one"].fault = func(way string) string {
			if way == "off" && first {
				first = false
				return "stuck"
			}
			return ""
		}
		p.plans["f/one"].tick = func(life uint32) error {
			if life <= 2 {
				return errBoom
			}
			return nil
		}
		p.run(3 * time.Minute)
		p.wantState("f/one", actors.OK)
		if rig := p.rigs["f/one"]; len(rig.crimes) != 0 || rig.off {
			t.Errorf("%s: %q", rig.told(), rig.crimes)
		}
		p.stop()
	})
}

func TestEvidenceOfAGroupThatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, map[string]sketch{"a": {{"f", &gatewayv1.Group{Critical: true}}, {"f/g", &gatewayv1.Group{Critical: true}}, {"f/g/one", rigged{}}}})
		if _, err := p.tree.Evidence(context.Background()); err == nil {
			t.Error("evidence of a tree that has not started")
		}
		p.run(3 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if e, err := p.tree.Evidence(ctx); err != nil || e.Alive != 3 || len(e.Missing) != 0 {
			t.Errorf("%+v %v", e, err)
		}
		p.rigs["f/g/one"].change(func(r *rig) { r.judged = func() { time.Sleep(time.Minute) } })
		_ = p.sys.Lookup("f/g/one").Steer(actors.NewRequest(nil, func(any, error) {}))
		p.change(func() { p.plans["f/g/one"].tick = func(uint32) error { return errBoom } })
		p.run(2 * time.Second)
		ctx2, cancel2 := context.WithTimeout(context.Background(), time.Second)
		defer cancel2()
		e, err := p.tree.Evidence(ctx2)
		if err != nil || e.Alive != 2 || len(e.Missing) != 1 || e.Missing[0].Path != "f/g" || !strings.Contains(e.Missing[0].Reason, "mailbox") {
			t.Errorf("%+v %v", e, err)
		}
		p.rigs["f/g/one"].change(func(r *rig) { r.judged = nil })
		p.change(func() { p.plans["f/g/one"].tick = nil })
		p.run(2 * time.Minute)
		p.stop()
	})
}
